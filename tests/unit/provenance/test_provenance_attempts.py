"""Retries: what was killed is tried again, what failed by itself is not worked on a second time."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from utopia.errors import UtopiaError
from utopia.provenance import failures
from utopia.provenance.job import record

LOG = "logs/train/pack.log"


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs an attempt of a job whose work is a function; says whether the work was begun."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(failures.SHOWN_BY_LOGGER, "1")

    def run(number: int, work: Any) -> bool:
        job = SimpleNamespace(
            rule="train", wildcards={}, input=[], output=["out.bin"], log=[LOG], params={}, config={}, threads=1,
            resources={"attempt": number, "mem_mb": 1000},
        )  # fmt: skip
        begun = []
        try:
            with record(job):
                begun.append(True)
                work()
                Path("out.bin").write_text("x")
        except SystemExit as end:
            assert end.code != 0
        return bool(begun)

    return run


def failed() -> dict[str, Any]:
    return json.loads(Path(LOG + failures.SUFFIX).read_text())


def fails() -> None:
    raise UtopiaError("the labels are damaged", where="labels.bin", why="no training", remedy="regenerate them")


def breaks() -> None:
    raise ZeroDivisionError("a fault of ours")


def runs_out() -> None:
    raise MemoryError


def is_ended() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("work", [fails, breaks])
def test_what_failed_by_itself_is_not_worked_on_again_and_says_the_same(attempt: Any, work: Any) -> None:
    assert attempt(1, work)
    first, trace = failed(), Path(LOG).read_text()
    Path(LOG).write_text("")  # Snakemake empties a job's log before each attempt
    for number in (2, 3):
        assert not attempt(number, work)
        again = failed()
        assert again["attempt"] == number
        for key in ("error", "expected", "message", "what", "where", "why", "remedy", "status", "traceback"):
            assert again[key] == first[key], key
    assert "Traceback" in trace and "Traceback" in Path(LOG).read_text()


@pytest.mark.parametrize("work", [runs_out, is_ended])
def test_what_ran_out_of_memory_or_was_ended_is_tried_again(attempt: Any, work: Any) -> None:
    assert attempt(1, work)
    assert attempt(2, lambda: None)
    assert not Path(LOG + failures.SUFFIX).exists()


def test_a_failure_of_an_earlier_run_does_not_count(attempt: Any) -> None:
    assert attempt(1, fails)
    assert not attempt(2, fails)
    assert attempt(1, lambda: None), "a new run begins with a first attempt"
    assert attempt(1, fails)
    assert attempt(3, lambda: None), "the second attempt left no failure: it was killed"
