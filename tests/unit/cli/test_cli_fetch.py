"""`utopia fetch` as a program, against a loopback server that serves as the mirror."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import forked
import pytest


def utopia(*words: str) -> subprocess.CompletedProcess[str]:
    nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    return forked.utopia("fetch", *words, "--tries", "1", no_proxy="127.0.0.1", **nowhere)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address and the folder of a mirror."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=lambda: running.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}", folder
    running.shutdown()
    running.server_close()


def test_a_dry_run_asks_and_writes_nothing(tmp_path: Path) -> None:
    done = utopia("--data", str(tmp_path), "--dry-run", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["coverage"] is None and list(tmp_path.iterdir()) == []
    assert {row["dataset"] for row in found["rows"]} >= {"summe", "tvsum", "liris", "weights"}


def test_real_annotations_come_from_a_mirror(mirror: tuple[str, Path], shared_data: Path, tmp_path: Path) -> None:
    url, folder = mirror
    (folder / "tvsum").mkdir()
    (folder / "tvsum" / "ydata-tvsum50.mat").write_bytes((shared_data / "tvsum" / "ydata-tvsum50.mat").read_bytes())
    data = tmp_path / "new" / "data"
    words = ("tvsum", "--only", "annotations", "--data", str(data), "--mirror", url)
    done = utopia(*words)
    assert done.returncode == 0, done.stderr
    assert "annotations:ydata-tvsum50.mat  1         1         0" in done.stdout
    assert "1.1 MB transferred" in done.stdout and str(data / "fetched.csv") in done.stdout
    assert json.loads((data / "fetched.json").read_text())["tvsum/ydata-tvsum50.mat"]["pinned"] == "card"
    again = json.loads(utopia(*words, "--json").stdout)
    assert again["transferred"] == 0 and again["rows"][0]["obtained"] == 1


def test_a_wrong_file_on_the_mirror_is_said(mirror: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = mirror
    (folder / "weights").mkdir()
    (folder / "weights" / "googlenet-1378be20.pth").write_bytes(b"not it")
    done = utopia("googlenet_imagenet", "--data", str(tmp_path / "data"), "--mirror", url, "--json")
    row = json.loads(done.stdout)["rows"][0]
    assert done.returncode == 1 and row["failed"] and row["obtained"] == 0
    assert "expected 1378be20..." in next(iter(row["missing"]))
    assert not (tmp_path / "data" / "weights" / "googlenet-1378be20.pth").exists()


def test_weights_that_nothing_fetches_are_named_with_their_command(tmp_path: Path) -> None:
    done = utopia("openpose_action", "--data", str(tmp_path))
    assert done.returncode == 1 and "openpose_action" in done.stdout
    assert "make it: the study (the rule fine_tune makes" in done.stdout
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "openpose_action.safetensors").write_bytes(b"mine")
    row = json.loads(utopia("openpose_action", "--data", str(tmp_path), "--json").stdout)["rows"][0]
    assert (row["obtained"], row["missing"], row["failed"]) == (1, {}, False)


def test_faults_of_the_command_line(tmp_path: Path) -> None:
    done = utopia("tvsumm", "--data", str(tmp_path))
    assert done.returncode == 2 and "did you mean 'tvsum'" in done.stderr
    done = utopia("--study", "miniature", "--data", str(tmp_path))
    assert done.returncode == 2 and "generates its own data" in done.stderr
    assert utopia("tvsum").returncode == 2
