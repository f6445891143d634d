"""Atomic writes and hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia import files
from utopia.errors import UtopiaError
from utopia.files import atomic, digest, read_json, remove_leftovers, sha256, write_json, write_text

jsonable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.txt"
    write_text(path, "one\r\n")
    write_text(path, "zwei: ü\n")
    assert path.read_bytes() == "zwei: ü\n".encode()
    assert listing(path.parent) == ["a.txt"]


def test_the_temporary_file_lies_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic(tmp_path / "figure.pdf") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".pdf"
        assert not (tmp_path / "figure.pdf").exists()


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="midway"), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("midway")
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["a.txt"]


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UtopiaError) as caught, atomic(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "No space left on device" in str(caught.value)
    assert str(path) in str(caught.value)
    assert "free disk space" in str(caught.value)
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_that_is_really_full(tmp_path: Path) -> None:
    with pytest.raises(UtopiaError, match="No space left"), atomic(tmp_path / "a.txt"):
        Path("/dev/full").write_text("x" * 100_000)
    assert listing(tmp_path) == []


def test_a_fault_of_another_file_is_not_said_to_be_one_of_writing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a.txt"):
        (tmp_path / "input that is missing").read_text()
    assert listing(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UtopiaError, match="cannot write"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_the_usual_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "x")
    (tmp_path / "theirs").write_text("x")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "theirs").stat().st_mode)


def test_a_kill_leaves_the_old_or_the_new_file_never_half(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    size = 200_000
    program = (
        "import sys, itertools\nfrom utopia.files import write_text\n"
        f"for i in itertools.count(): write_text(sys.argv[1], str(i % 10) * {size})"
    )
    for pause in (0.15, 0.2, 0.25):
        process = subprocess.Popen([sys.executable, "-c", program, str(path)])
        deadline = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        text = path.read_text()
        assert len(text) == size
        assert len(set(text)) == 1, "one write, whole"


def test_what_a_killed_process_has_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom utopia.files import atomic\n"
        "with atomic(sys.argv[1]) as temporary:\n    print(temporary.name, flush=True)\n    time.sleep(60)"
    )
    path = tmp_path / "below" / "a.csv"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert remove_leftovers(tmp_path) == [], "its process is at work"
        process.kill()
    (tmp_path / ".mine.tmp.txt").write_text("a file of the user")
    (tmp_path / f".a.{process.pid}@another-host.abc.tmp.csv").write_text("of another machine")
    assert remove_leftovers(tmp_path) == [path.with_name(name)]
    assert listing(tmp_path / "below") == []
    assert len(listing(tmp_path)) == 3


@given(jsonable)
def test_json_comes_back(value: object) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        write_json(path, value)
        assert read_json(path) == value


def test_json_bytes_do_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": {"d": 2, "c": 3}})
    write_json(tmp_path / "b.json", {"a": {"c": 3, "d": 2}, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_json_refuses_what_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert listing(tmp_path) == []


def test_faulty_json_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1,\n "b": }\n')
    with pytest.raises(UtopiaError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}:2: not valid JSON")
    with pytest.raises(UtopiaError, match="cannot read"):
        read_json(tmp_path / "none.json")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UtopiaError, match="cannot read"):
        read_json(path)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sha256_of_files_around_the_block_size(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


@given(st.dictionaries(st.text(), jsonable, max_size=5))
def test_digests_are_blind_to_the_order_of_keys(value: dict) -> None:
    turned = dict(reversed(list(value.items())))
    assert digest(value) == digest(turned) == digest(json.loads(json.dumps(value)))


def test_digests_tell_values_apart() -> None:
    values = [None, 0, False, "", "0", [], {}, [0], [[0]], {"a": 0}, {"a": "0"}, 0.5, "é", "e\u0301"]
    assert len({digest(value) for value in values}) == len(values)
    assert len(digest(1)) == 16
    assert len(digest(1, length=64)) == 64
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("inf"))


def test_a_full_table_of_names_is_named(tmp_path: Path, monkeypatch) -> None:
    """`df -h` shows room there, and people look at nothing else."""
    import tempfile

    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    monkeypatch.setattr(files, "free_names", lambda folder: 0)
    with pytest.raises(UtopiaError, match=r"df -i"):
        files.write_text(tmp_path / "a", "x")
    monkeypatch.setattr(files, "free_names", lambda folder: 10)
    with pytest.raises(UtopiaError, match=r"df -h"):
        files.write_text(tmp_path / "a", "x")


def test_what_is_kept_of_a_file_is_of_this_very_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One name in two folders, as long and as old: what was read in one is not given for the other."""
    looked_at: list[Path] = []

    @files.kept_until_changed(4)
    def content(path: Path) -> str:
        looked_at.append(path)
        return path.read_text()

    relative = Path("same name")
    for folder, text in (("a", "first"), ("b", "other")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / relative).write_text(text)
        os.utime(tmp_path / folder / relative, ns=(1, 1))
    for folder, text in (("a", "first"), ("b", "other"), ("a", "first")):
        monkeypatch.chdir(tmp_path / folder)
        assert content(relative) == text
    assert len(looked_at) == 2, "what has not changed is not read again"
    os.utime(relative, ns=(2, 2))
    (tmp_path / "replaced").write_text("third")
    os.utime(tmp_path / "replaced", ns=(2, 2))
    assert content(relative) == "first"
    (tmp_path / "replaced").replace(relative)
    assert content(relative) == "third"
    relative.unlink()
    with pytest.raises(FileNotFoundError):
        content(relative)
