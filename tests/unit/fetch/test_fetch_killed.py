"""Downloads of processes that are killed, that run side by side, or whose disk is full."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from utopia.fetch.download import Wanted, download
from utopia.fetch.record import FetchRecord, locked
from utopia.fetch.transfer import Policy

DATA = random.Random(6).randbytes(3_000_000)
SHA = hashlib.sha256(DATA).hexdigest()

_PROGRAM = """\
import json, sys
from pathlib import Path
from utopia.errors import UtopiaError
from utopia.fetch.download import Wanted, download
from utopia.fetch.transfer import Policy
target, url, sha256 = sys.argv[1:]
try:
    got = download(Wanted(Path(target), [url], sha256=sha256 or None), Policy(stall=5.0, spare=0, block=1 << 15))
except UtopiaError as error:
    sys.exit(str(error))
print(json.dumps([got.transferred, got.sha256]))
"""


def start(target: Path, url: str, sha256: str = SHA, **more: Any) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _PROGRAM, str(target), url, sha256]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.parametrize("sha256", [SHA, ""])
def test_after_a_kill_only_the_rest_comes(server: Any, tmp_path: Path, sha256: str) -> None:
    target = tmp_path / "file.bin"
    part = tmp_path / ".file.bin.part"
    url = server.file("/f", DATA, pause=0.02)
    process = start(target, url, sha256)
    until = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > 500_000):
        assert time.monotonic() < until and process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = part.stat().st_size
    assert 0 < there < len(DATA) and not target.exists()
    server.file("/f", DATA)
    out, err = start(target, url, sha256).communicate(timeout=30)
    assert err == "" and json.loads(out) == [len(DATA) - there, SHA]
    assert server.sent_in["/f", 2] == len(DATA) - there and len(server.asked["/f"]) == 2, "only the rest"
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"] and target.read_bytes() == DATA


def test_two_processes_fetch_a_file_once(server: Any, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    url = server.file("/f", DATA, pause=0.01)
    both = [start(target, url) for _ in range(2)]
    came = sorted(json.loads(process.communicate(timeout=30)[0])[0] for process in both)
    assert came == [0, len(DATA)] and server.sent["/f"] == len(DATA)
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_a_full_disk_is_said_and_gone_on_from(server: Any, tmp_path: Path) -> None:
    """A limit on the size of files ends the writing as a full disk does: in the middle of it."""
    target = tmp_path / "file.bin"
    url = server.file("/f", DATA)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    _, err = start(target, url, preexec_fn=limited).communicate(timeout=30)
    assert "cannot store the download (File too large)" in err and "goes on from there" in err
    assert not target.exists() and (tmp_path / ".file.bin.part").stat().st_size == 1_000_000
    server.sent.clear()
    out, _ = start(target, url).communicate(timeout=30)
    assert json.loads(out) == [len(DATA) - 1_000_000, SHA]


def test_the_end_of_a_part_is_not_trusted_after_a_restart_of_the_machine(server: Any, tmp_path: Path) -> None:
    """Its end may never have reached the disk; without a digest nobody would notice."""
    target = tmp_path / "file.bin"
    url = server.file("/f", DATA)
    (tmp_path / ".file.bin.part").write_bytes(b"\0" * 1000)
    told = {
        "source": url,
        "etag": f'"{SHA[:16]}"',
        "modified": "",
        "length": len(DATA),
        "sha256": None,
        "boot": "before",
    }
    (tmp_path / ".file.bin.part.json").write_text(json.dumps(told))
    got = download(Wanted(target, [url]), Policy(spare=0))
    assert got.sha256 == SHA and "Range" not in server.asked["/f"][0]


def test_a_damaged_sidecar_means_to_begin_anew(server: Any, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    (tmp_path / ".file.bin.part").write_bytes(DATA[:1000])
    (tmp_path / ".file.bin.part.json").write_text("{")
    assert download(Wanted(target, [server.file("/f", DATA)], sha256=SHA), Policy(spare=0)).transferred == len(DATA)


def test_a_lock_is_dropped_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom utopia.fetch.record import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    waited = []

    def waiting() -> None:
        waited.append(True)
        process.kill()

    with locked(tmp_path / "x", waiting):
        assert waited == [True]
    process.communicate()
    assert list(tmp_path.iterdir()) == []


def test_processes_add_to_one_record(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom utopia.fetch.record import FetchRecord\n"
        "folder, who = Path(sys.argv[1]), sys.argv[2]\n"
        "for n in range(15):\n"
        "    path = folder / f'{who}{n}'\n    path.write_text(who)\n"
        "    FetchRecord(folder).add(path, url='u', sha256='0' * 64, pinned='card')\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), who]) for who in "ab"]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    record = FetchRecord(tmp_path)
    assert all(record.current(tmp_path / f"{who}{n}") for who in "ab" for n in range(15))
    os.utime(tmp_path / "a0", (1, 1))
    assert record.current(tmp_path / "a0") is None and record.entry(tmp_path / "a0") is not None
