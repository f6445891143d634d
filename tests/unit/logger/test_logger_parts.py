"""The parts of the logger plugin that need no Snakemake: state, estimate, words, status file."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snakemake_logger_plugin_utopia import run as run_module
from snakemake_logger_plugin_utopia import screen as screen_module
from snakemake_logger_plugin_utopia import summary
from snakemake_logger_plugin_utopia.run import RunState
from snakemake_logger_plugin_utopia.screen import Screen
from snakemake_logger_plugin_utopia.status import StatusFile


class Clock:
    """A clock that tests turn by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    hand = Clock()
    monkeypatch.setattr(run_module.time, "time", hand.time)
    monkeypatch.setattr(screen_module.time, "monotonic", hand.time)
    yield hand


def start(run: RunState, jobid: int, rule: str = "train_run", **more: Any) -> None:
    run.start({"jobid": jobid, "rule_name": rule, "wildcards": {"run": str(jobid)}, "output": [f"o{jobid}"], **more})


def test_the_line_of_progress_stays_a_line_with_two_hundred_jobs_at_work(clock: Clock) -> None:
    run = RunState()
    run.plan({f"train_{number:03}": 2 for number in range(100)} | {"total": 200})
    for jobid in range(3):
        start(run, jobid, f"train_{jobid // 2:03}")
    assert summary.progress_line(run, bar=False).endswith(": train_000 x2, train_001")
    for jobid in range(3, 200):
        start(run, jobid, f"train_{jobid // 2:03}")
    line = summary.progress_line(run, bar=False)
    assert line.endswith(": train_000 x2, train_001 x2, train_002 x2, train_003 x2, 192 more") and len(line) < 150


def test_the_time_left_is_the_work_left_over_the_jobs_at_once(clock: Clock) -> None:
    run = RunState()
    run.plan({"train_run": 6, "all": 1, "total": 7})
    assert run.total == 6
    assert run.remaining_seconds() is None
    start(run, 1)
    start(run, 2)
    clock.now += 10
    assert run.remaining_seconds() is None
    run.finish(1)
    run.finish(2)
    # Two jobs of 10 s at once: four left take 20 s.
    assert run.remaining_seconds() == pytest.approx(20)
    start(run, 3)
    start(run, 4)
    clock.now += 4
    assert run.remaining_seconds() == pytest.approx(16)
    # A job that takes longer than usual is not expected to end at once, nor before the others.
    clock.now += 26
    assert run.remaining_seconds() == pytest.approx((1 + 1 + 10 + 10) / 2)


def test_a_rule_that_has_not_ended_yet_counts_as_in_the_run_before(clock: Clock) -> None:
    run = RunState()
    run.former_seconds = {"train_run": 100.0}
    run.plan({"train_run": 1, "build_labels": 1, "total": 2})
    assert run.remaining_seconds() == pytest.approx(200)  # nothing known of labels: like the mean
    start(run, 1, "build_labels")
    clock.now += 2
    run.finish(1)
    assert run.remaining_seconds() == pytest.approx(100)


def test_failed_jobs_are_not_waited_for(clock: Clock) -> None:
    run = RunState()
    run.plan({"train_run": 2, "total": 2})
    start(run, 1)
    clock.now += 5
    run.finish(1)
    start(run, 2)
    run.hear("RuleException:\nCommand 'x' returned non-zero exit status 2.")
    failure = run.fail({"jobid": 2, "rule_name": "train_run", "log": []})
    assert failure.what.startswith("exit status 2")
    assert run.remaining_seconds() == 0
    assert run.retry(2) == failure
    assert run.failed == {}


def test_a_job_that_ctrl_c_ends_while_it_begins_has_not_failed(tmp_path: Path) -> None:
    """Python that is still importing leaves no file that says why it ended."""
    run = RunState()
    run.plan({"train_run": 1, "total": 1})
    start(run, 1, log=[str(tmp_path / "job.log")])
    run.stopped_by = "you"
    failure = run.fail({"jobid": 1, "rule_name": "train_run", "log": []})
    assert (failure.status, failure.what) == ("interrupted", "ended with the run")
    lines = "\n".join(summary.failed(run, lambda text, *styles: text, True))
    assert lines.startswith("stopped by you: 0 done, 1 not run") and "train_run" not in lines


def test_a_damaged_failure_file_falls_back_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    run = RunState()
    start(run, 1, log=[str(log)])
    log.write_text("the last word\n")
    (tmp_path / "job.log.failed.json").write_text("{")
    failure = run.fail({"jobid": 1, "rule_name": "train_run", "log": [str(log)]})
    assert failure.what == "the last word"


def test_files_from_before_the_start_are_not_about_it(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("old words\n")
    time.sleep(0.05)
    run = RunState()
    start(run, 1, log=[str(log)], created=time.time())
    assert run.fail({"jobid": 1, "rule_name": "train_run", "log": [str(log)]}).what == "ended without a message"
    start(run, 1, log=[str(log)], created=time.time())
    log.write_text("new words\n")
    assert run.fail({"jobid": 1, "rule_name": "train_run", "log": [str(log)]}).what == "new words"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert summary.duration(seconds) == words


def test_lines_are_rare_where_there_is_no_terminal(clock: Clock) -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.began()
    for second in range(100):
        clock.now += 1
        screen.progress(f"at {second}", finished=second % 2 == 0)
    lines = stream.getvalue().splitlines()
    assert 8 <= len(lines) <= 10
    for _ in range(150):
        clock.now += 1
        screen.progress("silent")
    assert len(stream.getvalue().splitlines()) - len(lines) == 2
    assert "\x1b" not in stream.getvalue()


def test_a_stream_that_cannot_write_a_letter_gets_another() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Screen(stream).line("größer")
    stream.flush()
    assert stream.buffer.getvalue() == b"gr??er\n"  # type: ignore[attr-defined]


def test_reasons_are_counted_in_few_words() -> None:
    params = "Params have changed since last execution: before: {'a'} now: {'b'}"
    lines = summary.dry_run(
        {"build_labels": 3, "render_table": 1},
        {
            "build_labels": ["Missing output files: x; Input files updated by another job: y", params, params],
            "render_table": ["Updated input files: z"],
        },
    )
    assert lines[0] == "4 jobs would run (dry run: nothing is changed)"
    assert lines[2].split(maxsplit=2) == [
        "build_labels", "3", "settings or code have changed (2), output is missing (1)",
    ]  # fmt: skip
    assert lines[3].split(maxsplit=2) == ["render_table", "1", "input is newer"]


def test_the_status_file_finds_the_study_by_its_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UTOPIA_STUDY_FOLDER", raising=False)
    file = StatusFile()
    file.write(RunState(), "running", now=True)
    assert list(tmp_path.iterdir()) == []
    file.find(["results/mini/logs/train_run/logs.log"])
    assert file.folder == tmp_path / "results" / "mini"
    run = RunState()
    run.plan({"train_run": 2, "total": 2})
    start(run, 1)
    file.write(run, "running", now=True)
    facts = json.loads((tmp_path / "results/mini/audit/run.json").read_text())
    assert facts["state"] == "running"
    assert facts["running"][0]["wildcards"] == {"run": "1"}
    file.write(run, "done")  # within a second: left for the next beat
    assert json.loads((tmp_path / "results/mini/audit/run.json").read_text())["state"] == "running"
    monkeypatch.setenv("UTOPIA_STUDY_FOLDER", "elsewhere")
    other = StatusFile()
    other.find(["results/mini/logs/train_run/a.log"])
    assert other.folder == tmp_path / "elsewhere"


def test_nothing_to_do_does_not_hide_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UTOPIA_STUDY_FOLDER", str(tmp_path))
    file = StatusFile()
    file.find()
    file.write(RunState(), "failed", now=True)
    failed = tmp_path / "logs" / "train_run" / "a.log.failed.json"
    failed.parent.mkdir(parents=True)
    failed.write_text("{}")
    file.nothing_to_do(RunState())
    assert file.former()["state"] == "failed"
    failed.unlink()
    file.nothing_to_do(RunState())
    assert file.former()["state"] == "done"
