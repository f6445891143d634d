"""Several processes for one training job: the same bytes, and what happens when one of them ends too soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from frame_toy import Toy

from utopia.errors import ComputeError, InputError
from utopia.training import loop
from utopia.training.trainer import ReplicaJob

Do = Callable[[ReplicaJob], None]


def before_each(monkeypatch: pytest.MonkeyPatch, do: Do) -> None:
    """Have every process do something before each training; workers are forks, so they do it too."""
    original = loop.train_one

    def first(job: ReplicaJob, *rest: Any) -> Any:
        do(job)
        return original(job, *rest)

    monkeypatch.setattr(loop, "train_one", first)


def note_process(folder: Path) -> Do:
    """Leave a file named by the process that trains a replica."""
    folder.mkdir(exist_ok=True)

    def note(job: ReplicaJob) -> None:
        (folder / str(os.getpid())).touch()
        time.sleep(0.2)  # so that a first worker does not do all before the others have started

    return note


def processes(folder: Path) -> list[int]:
    """The processes that have trained."""
    return sorted(int(path.name) for path in folder.iterdir())


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def contents(folder: Path) -> dict[str, bytes]:
    """The predictions and checkpoints of a run."""
    return {path.name: path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.mark.parametrize("treatment", [{}, {"loss": "cwl", "sampler": "tns"}])
def test_the_same_bytes_from_three_processes(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, treatment: dict[str, Any]
) -> None:
    lines: list[tuple[int, int, str]] = []
    _, expected, _ = toy.train("single", **treatment)
    before_each(monkeypatch, note_process(tmp_path / "pids"))
    _, summary, _ = toy.train("split", workers=3, progress=lambda *line: lines.append(line), **treatment)
    assert len(processes(tmp_path / "pids")) == 3 and os.getpid() not in processes(tmp_path / "pids")
    assert contents(toy.root / "split") == contents(toy.root / "single") and len(contents(toy.root / "split")) == 5
    assert [line[:2] for line in lines] == [(number, 4) for number in range(1, 5)]
    for replica in (*summary["replicas"], *expected["replicas"]):
        assert replica.pop("seconds") > 0
    assert summary == expected
    assert not any(map(is_alive, processes(tmp_path / "pids")))


def test_no_key_knows_the_number_of_workers(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.train(workers=2)
    before_each(monkeypatch, note_process(tmp_path / "pids"))
    toy.train(workers=1)
    toy.train(workers=3)
    toy.train(engine={"workers": 8})
    assert processes(tmp_path / "pids") == []


def test_replicas_that_are_stacked_stay_in_one_process(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.train("single", engine={"strategy": "vectorized"})
    toy.train("split", workers=3, engine={"strategy": "vectorized"})
    assert contents(toy.root / "split") == contents(toy.root / "single")
    assert "one process, not 3" in capsys.readouterr().out


def test_a_killed_worker_is_told_and_a_next_run_goes_on(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.train("single")
    note = note_process(tmp_path / "pids")

    def die(job: ReplicaJob) -> None:
        note(job)
        if job.replica.name == "importance.1.0":
            os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        before_each(patch, die)
        with pytest.raises(MemoryError, match=r"worker process was killed \(SIGKILL\) at .*replica importance\.1\.0"):
            toy.train("split", workers=2)
    assert not any(map(is_alive, processes(tmp_path / "pids")))
    folder = toy.root / "split"
    stored = contents(folder)
    assert stored and "importance.1.0.safetensors" not in stored and "predictions.safetensors" not in stored
    _, summary, _ = toy.train("split", workers=2)
    assert contents(folder) == contents(toy.root / "single")
    found = {Path(one["checkpoint"]).name for one in summary["replicas"] if one["seconds"] is None}
    assert found == set(stored), "what was stored is not trained again"


def test_a_crash_is_no_lack_of_memory(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    before_each(monkeypatch, lambda job: os.kill(os.getpid(), signal.SIGSEGV))
    with pytest.raises(ComputeError, match=r"replica importance\.\d\.\d: a worker process has crashed \(SIGSEGV\)"):
        toy.train(workers=2)


def test_errors_are_those_of_one_process(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def input_error(job: ReplicaJob) -> None:
        raise InputError("it is damaged", where="v5", why="it matters", remedy="repair it")

    def by_accident(job: ReplicaJob) -> None:
        raise ValueError("nobody foresaw this")

    def own_kind(job: ReplicaJob) -> None:
        raise type("StrangeError", (Exception,), {})("a kind of its own")

    for do, kind, message in (
        (input_error, InputError, "v5: it is damaged\n  why it matters: it matters\n  what to do:     repair it"),
        (by_accident, ValueError, "nobody foresaw this"),
        (own_kind, RuntimeError, "StrangeError: a kind of its own"),
    ):
        with monkeypatch.context() as patch:
            before_each(patch, do)
            with pytest.raises(kind) as caught:
                toy.train(workers=2)
        assert str(caught.value) == message and type(caught.value) is kind
        (note,) = caught.value.__notes__
        assert f'{Path(__file__).name}", line {do.__code__.co_firstlineno + 1}, in {do.__name__}' in note


def test_a_replica_that_fails_does_not_keep_the_others(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(job: ReplicaJob) -> None:
        if job.replica.name == "importance.0.1":
            raise ComputeError("the training loss is nan in epoch 3", where=job.where)

    before_each(monkeypatch, fail)
    with pytest.raises(ComputeError, match=r"replica importance\.0\.1: the training loss is nan"):
        toy.train(workers=2)
    assert sorted(contents(toy.root / "run")) == [f"importance.{n}.safetensors" for n in ("0.0", "1.0", "1.1")]


def test_an_interruption_ends_the_workers(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_each(monkeypatch, note_process(tmp_path / "pids"))

    def stop(done: int, of: int, line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy.train(workers=3, repeats=20, progress=stop)
    assert processes(tmp_path / "pids") and not any(map(is_alive, processes(tmp_path / "pids")))


KILLED = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import pytest
from frame_toy import make_toy
from test_training_workers import before_each, note_process

def die(done, of, line):
    os.kill(os.getpid(), signal.SIGKILL)

def note_and_wait(job):
    note(job)
    try:
        (root / "first").mkdir()
    except FileExistsError:
        time.sleep(300)  # does not look at what has become of the job
    while len(list((root / "pids").iterdir())) < 3:
        time.sleep(0.01)

root = Path(sys.argv[2])
toy = make_toy(root)
note = note_process(root / "pids")
before_each(pytest.MonkeyPatch(), note_and_wait)
toy.train(workers=3, repeats=5, progress=die)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with the one that made it")
def test_workers_end_with_a_job_that_is_killed(tmp_path: Path) -> None:
    folder = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", KILLED, folder, str(tmp_path)], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    pids = processes(tmp_path / "pids")
    until = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert pids and not any(map(is_alive, pids))
