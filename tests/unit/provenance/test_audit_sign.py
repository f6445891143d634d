"""A signature over a study's seal: whose it is, and whether the records are still those that were signed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
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
    done = whole.command("sign", "--configfile", "tiny.yaml", "--json", *arguments)
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
    assert status == 1 and "1 finding contradicts" in answer["error"]
    assert not list(whole.folder.glob("results/*.sig"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A time-stamping authority of our own, by OpenSSL behind a server: its address and its certificate.

    Of its paths `/refuses` answers with an error, `/other` with the stamp of something else.
    """
    if shutil.which("openssl") is None:
        pytest.skip("OpenSSL is not installed")
    folder = tmp_path_factory.mktemp("authority")
    (folder / "request.cnf").write_text(
        "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = test\n"
        "[stamps]\nextendedKeyUsage = critical,timeStamping\nbasicConstraints = critical,CA:false\n"
    )
    (folder / "authority.cnf").write_text(
        "[tsa]\ndefault_tsa = ours\n[ours]\nserial = serial\nsigner_cert = signer.pem\nsigner_key = signer.key\n"
        "signer_digest = sha256\ndefault_policy = 1.2.3\ndigests = sha256\n"
    )
    (folder / "serial").write_text("01\n")
    (folder / "else").write_text("something else")

    def openssl(arguments: str) -> bytes:
        return subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True).stdout

    openssl("req -newkey rsa:2048 -nodes -config request.cnf -x509 -days 2 -keyout tsa.key -out tsa.pem")
    openssl("req -newkey rsa:2048 -nodes -config request.cnf -keyout signer.key -out signer.csr")
    openssl(
        "x509 -req -in signer.csr -CA tsa.pem -CAkey tsa.key -CAcreateserial -days 2 -out signer.pem "
        "-extfile request.cnf -extensions stamps"
    )

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/other":
                openssl("ts -query -data else -sha256 -cert -out query")
            self.send_response(503 if self.path == "/refuses" else 200)
            self.end_headers()
            self.wfile.write(openssl("ts -reply -config authority.cnf -queryfile query"))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder / "tsa.pem"
    server.shutdown()
    server.server_close()


def test_an_authority_stamps_the_seal_and_no_other_one(
    whole: Small, key: Path, authority: tuple[str, Path], repository: Path
) -> None:
    url, certificate = authority
    status, signed = asked(whole, "--key", str(key), "--stamp", url)
    stamp = whole.folder / signed["stamp"]
    assert status == 0 and stamp.is_file()
    status, answer = asked(whole, "--check", "--authority", str(certificate))
    assert (status, answer["stamp_is_checked"]) == (0, True) and answer["stamped"].endswith("GMT")
    assert asked(whole, "--check")[1]["stamp_is_checked"] is False

    text = " ".join((repository / "docs" / "auditing.md").read_text(encoding="utf-8").split())
    (by_hand,) = re.findall(r"`(openssl ts -verify [^`]+)`", text)
    by_hand = by_hand.replace("<study>", "miniature").replace("FILE", str(certificate))
    statement = whole.folder / signed["statement"]
    said = subprocess.run(by_hand.split(), cwd=whole.folder, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    statement.write_text(statement.read_text().replace("Z", "Y"))
    (whole.folder / signed["signature"]).unlink()
    subprocess.run(["ssh-keygen", "-Y", "sign", "-f", key, "-n", "utopia-seal", statement], check=True)
    status, answer = asked(whole, "--check", "--authority", str(certificate))
    assert status != 0 and "OpenSSL refuses" in answer["error"]


@pytest.mark.parametrize(
    ("path", "said"),
    [("/refuses", "gives no stamp"), ("/other", "no stamp of this file"), (None, "gives no stamp")],
    ids=["it refuses", "it stamps something else", "no address"],
)
def test_without_a_stamp_the_signature_stays(
    whole: Small, key: Path, authority: tuple[str, Path], path: str | None, said: str
) -> None:
    status, answer = asked(whole, "--key", str(key), "--stamp", authority[0] + path if path else "nowhere")
    assert status == 1 and said in answer["error"] and "signed all the same" in answer["error"]
    assert [file.name for file in whole.folder.glob("results/*.seal.*")] == [
        "miniature.seal.json",
        "miniature.seal.json.sig",
    ]
    assert asked(whole, "--check")[1]["agrees"] is True
