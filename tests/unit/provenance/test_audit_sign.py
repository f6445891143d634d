"""A signature over a study's seal: whose it is, and whether the records are still those that were signed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from studies import Small, flip

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key without a passphrase."""
    return make_key(tmp_path / "key")


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", str(path)], check=True)
    return path


def signers(path: Path, key: Path) -> Path:
    path.write_text(f"me@example.org {key.with_suffix('.pub').read_text()}")
    return path


def asked(whole: Small, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = whole.utopia("sign", "--configfile", "tiny.yaml", "--json", *arguments)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def test_a_signature_names_its_key_and_holds_as_long_as_no_record_changes(whole: Small, key: Path) -> None:
    status, signed = asked(whole, "--key", str(key))
    assert status == 0 and signed["seal"] == whole.verify(recompute=False).seal
    status, answer = asked(whole, "--check", "--signers", str(signers(key.with_name("trusted"), key)))
    assert (status, answer["key"], answer["agrees"]) == (0, "me@example.org", True)
    whole.edit_record("tables/ulda_table_7.csv", lambda facts: facts.update(host="another"))
    status, answer = asked(whole, "--check")
    assert status == 1 and answer["agrees"] is False


def test_a_changed_statement_and_a_stranger_are_refused(whole: Small, key: Path) -> None:
    _, signed = asked(whole, "--key", str(key))
    stranger = signers(key.with_name("trusted"), make_key(key.with_name("other")))
    status, answer = asked(whole, "--check", "--signers", str(stranger))
    assert status != 0 and "OpenSSH refuses" in answer["error"]
    flip(whole.folder / signed["statement"])
    status, answer = asked(whole, "--check")
    assert status != 0 and "OpenSSH refuses" in answer["error"]


def test_what_is_not_sound_is_not_signed(whole: Small, key: Path) -> None:
    flip(whole.path("tables/ulda_table_7.csv"))
    status, answer = asked(whole, "--key", str(key))
    assert status == 1 and "1 findings contradict" in answer["error"]
    assert not list(whole.folder.glob("results/*.sig"))
