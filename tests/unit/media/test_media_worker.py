"""Decoding in a process of its own: the same samples, and a crash that costs one file."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clips import make, tone

from utopia.errors import InputError
from utopia.media import audio, frames, worker
from utopia.media.probe import probe

CRASH = """
import os, signal
from utopia.media import frames, worker
real = frames.sample_frames
def crashing(path, **rate):
    for count, sample in enumerate(real(path, **rate)):
        if {when}:
            os.kill(os.getpid(), signal.{signal})
        yield sample
frames.sample_frames = crashing
"""


@pytest.fixture(autouse=True)
def own_workers() -> Iterator[None]:
    """No worker of another test, and none for the next."""
    worker.end_idle()
    yield
    worker.end_idle()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    return make(path, frames=50, options={"g": "25"}, sound=tone(2), sound_codec="flac")


def before_serving(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let new workers do something before they begin."""
    start, serve = worker.SERVE.rsplit("; ", 1)
    monkeypatch.setattr(worker, "SERVE", f"{start}\n{code}\n{serve}")


@pytest.mark.parametrize("rate", [{"fps": 5}, {"fps": 60}, {"every": 7}])
def test_a_worker_gives_the_same_samples(clip: Path, rate: dict) -> None:
    ours, expected = list(worker.sample_frames(clip, **rate)), list(frames.sample_frames(clip, **rate))
    assert [time for time, _ in ours] == [time for time, _ in expected]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(ours, expected, strict=True))
    assert len({id(pixels) for _, pixels in ours}) == len({id(pixels) for _, pixels in expected})


@pytest.mark.parametrize("channels", [1, 2])
def test_a_worker_gives_the_same_sound_and_facts(clip: Path, channels: int) -> None:
    ours = np.concatenate(list(worker.stream_audio(clip, 16_000, channels)), axis=-1)
    assert np.array_equal(ours, audio.read_audio(clip, 16_000, channels))
    assert worker.probe(clip) == probe(clip)


def test_one_process_serves_many_files(clip: Path) -> None:
    pids = set()
    for _ in range(3):
        list(worker.sample_frames(clip, fps=1))
        (idle,) = worker.idle_workers
        pids.add(idle.process.pid)
    assert len(pids) == 1


def test_a_relative_path_is_that_of_the_job_wherever_an_idle_worker_was_started(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.probe(clip)
    monkeypatch.chdir(clip.parent)
    assert worker.probe(clip.name) == probe(clip)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        worker.probe(clip.name)


def test_errors_are_those_of_the_decoder(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    for function in (worker.probe, lambda path: list(worker.sample_frames(path, fps=1))):
        with pytest.raises(InputError) as ours:
            function(tmp_path / "text.mp4")
        with pytest.raises(InputError) as expected:
            probe(tmp_path / "text.mp4")
        assert str(ours.value) == str(expected.value)
    with pytest.raises(audio.NoAudio):
        list(worker.stream_audio(make(tmp_path / "silent.mp4", frames=5)))
    with pytest.raises(InputError) as missing:
        worker.probe(tmp_path / "missing.mp4")
    assert isinstance(missing.value.__cause__, OSError), "it is no fault of the file: another try may succeed"


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGILL"])
def test_a_crash_is_an_error_with_its_time_and_the_next_file_is_read(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before_serving(monkeypatch, CRASH.format(when="'bad' in str(path) and count == 7", signal=name))
    bad = tmp_path / "bad.mkv"
    bad.write_bytes(clip.read_bytes())
    taken = []
    with pytest.raises(InputError, match=rf"bad.mkv: the decoder crashes \({name}\) after 1\.20 s"):
        taken.extend(worker.sample_frames(bad, fps=5))
    assert [time for time, _ in taken] == pytest.approx([k / 5 for k in range(7)])
    assert len(list(worker.sample_frames(clip, fps=5))) == 10


def test_pyav_itself_crashes_and_the_job_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the layout taken away, two channels and then one end the process that decodes."""
    blind = "_Form.of = lambda frame: form_of(frame)._replace(layout='')"
    before_serving(monkeypatch, f"from utopia.media.audio import _Form\nform_of = _Form.of\n{blind}")
    parts = [make(tmp_path / f"{n}.ac3", frames=0, sound=tone(2, channels=n), sound_codec="ac3") for n in (2, 1)]
    path = tmp_path / "both.ac3"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(InputError, match=r"both.ac3: the decoder crashes \(SIG\w+\) after \d\.\d\d s"):
        list(worker.stream_audio(path))


def test_a_crash_that_another_file_has_left_behind_loses_nothing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try, in a new process, succeeds: every sample is there once."""
    mark = tmp_path / "crashed"
    when = f"count == 4 and not os.path.exists({str(mark)!r}) and not open({str(mark)!r}, 'w').close()"
    before_serving(monkeypatch, CRASH.format(when=when, signal="SIGSEGV"))
    ours, expected = list(worker.sample_frames(clip, fps=5)), list(frames.sample_frames(clip, fps=5))
    assert mark.exists() and [time for time, _ in ours] == [time for time, _ in expected]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(ours, expected, strict=True))


def test_what_is_killed_for_memory_is_no_fault_of_the_file(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_serving(monkeypatch, CRASH.format(when="count == 3", signal="SIGKILL"))
    with pytest.raises(MemoryError, match=r"decodes .*clip.mkv has ended \(SIGKILL\)"):
        list(worker.sample_frames(clip, fps=5))
    monkeypatch.undo()
    before_serving(monkeypatch, CRASH.format(when="count == 3", signal="SIGTERM"))
    with pytest.raises(InterruptedError, match="SIGTERM"):
        list(worker.sample_frames(clip, fps=5))


def test_who_wants_no_more_ends_the_work(clip: Path) -> None:
    others = _children()  # of the tests before this one, such as a tracker of shared memory
    samples = worker.sample_frames(clip, fps=25)
    next(samples)
    (decoder,) = _children() - others
    samples.close()  # type: ignore[attr-defined]
    assert decoder not in _children() and not worker.idle_workers


def test_what_a_library_prints_is_no_answer(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_serving(monkeypatch, CRASH.format(when="os.write(1, b'noise') and False", signal="SIGSEGV"))
    assert len(list(worker.sample_frames(clip, fps=5))) == 10


def test_what_the_decoder_raises_unasked_is_an_error_of_the_file(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_serving(monkeypatch, CRASH.format(when="[][count]", signal="SIGSEGV"))
    with pytest.raises(InputError, match=r"clip.mkv: the decoder fails \(IndexError: list index out of range\)"):
        list(worker.sample_frames(clip, fps=5))


def test_ctrl_c_is_left_to_the_job(clip: Path) -> None:
    list(worker.sample_frames(clip, fps=1))
    (idle,) = worker.idle_workers
    os.kill(idle.process.pid, signal.SIGINT)
    assert len(list(worker.sample_frames(clip, fps=5))) == 10 and worker.idle_workers == [idle]


def _children() -> set[str]:
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}
