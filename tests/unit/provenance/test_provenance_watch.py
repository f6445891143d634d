"""What a job really opens: seen through every library that we read files with."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from utopia import arrays, fingerprint
from utopia.provenance import watch
from utopia.provenance.job import record


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("declared.txt", "hidden.txt", "idle.txt"):
        Path(name).write_text(name)
    arrays.save("hidden.safetensors", {"x": np.zeros(3)})
    with h5py.File("hidden.h5", "w") as file:
        file["x"] = np.zeros(3)
    return tmp_path


def done(work: Any, inputs: tuple[str, ...] = ("declared.txt",), used: tuple[str, ...] = ()) -> dict[str, Any]:
    """The `opened` of a job that does `work`."""
    params = {"code": fingerprint.code("utopia.errors")}
    job = SimpleNamespace(
        rule="make",
        wildcards={},
        input=list(inputs),
        output=["out/a.txt"],
        log=["logs/a.log"],
        params=params,
        config={},
    )
    with record(job) as running:
        running.used(*used)
        work()
        Path("out").mkdir(exist_ok=True)
        Path("out/a.txt").write_text("a")
    return json.loads(Path("out/a.txt.record.json").read_text())["opened"]


def read_everything() -> None:
    Path("declared.txt").read_text()
    Path("hidden.txt").read_text()
    arrays.load("hidden.safetensors")["x"]
    with h5py.File("hidden.h5") as file:
        file["x"][...]


def test_reads_that_are_not_declared_are_named(place: Path) -> None:
    assert done(read_everything) == {
        "undeclared": ["hidden.h5", "hidden.safetensors", "hidden.txt"], "never_read": []
    }  # fmt: skip


def test_what_the_job_says_it_read_and_what_it_makes_is_declared(place: Path) -> None:
    def work() -> None:
        read_everything()
        Path("out").mkdir()
        Path("out/a.txt").write_text("half")
        Path("out/a.txt").read_text()
        Path("scratch.txt").write_text("gone at the end")
        Path("scratch.txt").read_text()
        Path("scratch.txt").unlink()

    found = done(work, used=("hidden.h5", "hidden.safetensors", str(place / "hidden.txt")))
    assert found == {"undeclared": [], "never_read": []}


def test_a_declared_input_that_is_never_opened_is_named(place: Path) -> None:
    found = done(lambda: Path("declared.txt").read_text(), inputs=("declared.txt", "idle.txt"))
    assert found == {"undeclared": [], "never_read": ["idle.txt"]}
    assert "idle.txt" in Path("logs/a.log").read_text()


def test_a_folder_is_read_when_a_file_in_it_is(place: Path) -> None:
    (place / "folder" / "deep").mkdir(parents=True)
    (place / "folder" / "deep" / "x.txt").write_text("x")
    (place / "empty").mkdir()
    found = done(lambda: Path("folder/deep/x.txt").read_text(), inputs=("folder", "empty"))
    assert found == {"undeclared": [], "never_read": ["empty"]}


def test_reads_of_other_threads_count_and_writes_do_not(place: Path) -> None:
    def work() -> None:
        thread = threading.Thread(target=lambda: Path("hidden.txt").read_text())
        thread.start()
        thread.join()
        Path("declared.txt").read_text()
        Path("written.txt").write_text("new")
        arrays.save("written.safetensors", {"x": np.zeros(1)})

    assert done(work)["undeclared"] == ["hidden.txt"]


def test_nothing_is_noted_outside_a_job(place: Path) -> None:
    with watch.watching() as seen:
        pass
    Path("hidden.txt").read_text()
    assert seen == set()


def test_libraries_that_are_imported_later_are_wrapped_too(place: Path, shared_clip: Path) -> None:
    code = (
        "import sys\nfrom utopia.provenance import watch\n"
        "assert not {'h5py', 'av', 'safetensors'} & set(sys.modules)\n"
        "with watch.watching() as seen:\n"
        "    import h5py, av\n    from safetensors import safe_open\n"
        "    from utopia import arrays\n"
        "    h5py.File('hidden.h5').close()\n"
        "    arrays.load('hidden.safetensors')\n"
        f"    av.open({str(shared_clip)!r}).close()\n"
        f"wanted = {{'hidden.h5', 'hidden.safetensors', {str(shared_clip)!r}}}\n"
        "assert wanted <= seen, wanted - seen\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=place)


@pytest.fixture
def shared_clip(tmp_path: Path) -> Path:
    """A second of sound, written by PyAV."""
    import av

    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
