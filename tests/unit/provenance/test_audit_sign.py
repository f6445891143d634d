"""A signature over a study's seal: whose it is, and whether the records are still those that were signed."""

from __future__ import annotations

import json
import re
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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL is not installed")
def test_the_time_stamp_that_is_made_by_hand(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of docs/auditing.md, with an authority of our own: it stamps the seal, and no other one."""
    monkeypatch.chdir(tmp_path)
    text = " ".join((repository / "docs" / "auditing.md").read_text(encoding="utf-8").split())
    query, verify = re.findall(r"`(openssl ts [^`]+)`", text.replace("<study>", "study"))
    seal = tmp_path / "results" / "study.seal.json"
    seal.parent.mkdir()
    seal.write_text('{"seal": "0"}')
    certificate = "openssl req -newkey rsa:2048 -nodes -config request.cnf"
    Path("request.cnf").write_text(
        "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = test\n"
        "[stamps]\nextendedKeyUsage = critical,timeStamping\nbasicConstraints = critical,CA:false\n"
    )
    Path("authority.cnf").write_text(
        "[tsa]\ndefault_tsa = ours\n[ours]\nserial = serial\nsigner_cert = signer.pem\nsigner_key = signer.key\n"
        "signer_digest = sha256\ndefault_policy = 1.2.3\ndigests = sha256\n"
    )
    Path("serial").write_text("01\n")
    for command in (
        f"{certificate} -x509 -days 2 -keyout tsa.key -out tsa.pem",
        f"{certificate} -keyout signer.key -out signer.csr",
        "openssl x509 -req -in signer.csr -CA tsa.pem -CAkey tsa.key -CAcreateserial -days 2 -out signer.pem "
        "-extfile request.cnf -extensions stamps",
        query,
        "openssl ts -reply -config authority.cnf -queryfile seal.tsq -out seal.tsr",
        verify,
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    seal.write_text('{"seal": "1"}')
    assert subprocess.run(verify.split(), capture_output=True).returncode != 0
