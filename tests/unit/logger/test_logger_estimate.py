"""The time left, at each minute of a real run of the miniature that is played back to the logger's own estimate."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
RECORDED = REPOSITORY / "tests" / "data" / "miniature_jobs.json"
"""Written by `python benchmarks/estimate.py results/miniature --write FILE`: every job of a first run on two cores with
its start, end and CPU seconds, and what the plan expected of each rule before it."""
FACTOR = 2.0
END = 20.0
"""Seconds before the end within which no estimate is asked for: it is shorter than the last job."""


@pytest.fixture(scope="module")
def estimate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("estimate", REPOSITORY / "benchmarks" / "estimate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["estimate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recorded(estimate: ModuleType):  # type: ignore[no-untyped-def]
    facts = json.loads(RECORDED.read_text(encoding="utf-8"))
    return [estimate.Event(*job) for job in facts["jobs"]], facts["expected"], facts["cores"]


def out_of_bounds(guesses, factor: float) -> list[str]:  # type: ignore[no-untyped-def]
    return [
        f"at {guess.at:.0f} s: {guess.estimated:.0f} s, and {guess.left:.0f} s were left"
        for guess in guesses
        if guess.left > END and not 1 / factor <= guess.estimated / guess.left <= factor
    ]


@pytest.mark.parametrize("slower", [1.0, 0.6, 3.0], ids=["as expected", "a fast machine", "a slow machine"])
def test_within_a_factor_of_two_from_the_first_minute(estimate, recorded, slower: float) -> None:
    events, expected, cores = recorded
    assert len(events) > 100 and {event.rule.partition("_")[0] for event in events} >= {"train", "extract", "render"}
    here = [event._replace(cpu_seconds=event.cpu_seconds * slower) for event in events]
    guesses = [*estimate.replay(estimate.quiet(here, cores, overhead=slower), expected, cores)]
    assert guesses[0].at == 60.0 and len(guesses) >= 2
    assert out_of_bounds(guesses, FACTOR) == []


def test_the_price_makes_the_estimate_better(estimate, recorded) -> None:
    """Without it small jobs promise that large ones of the same kind are small too, and the other way round."""
    events, expected, cores = recorded
    told, blind = (
        [math.log(guess.estimated / guess.left) for guess in estimate.replay(estimate.quiet(events, cores), *known)]
        for known in ((expected, cores), ({}, 0))
    )
    assert sum(map(abs, told)) < 0.75 * sum(map(abs, blind))


def test_a_machine_that_others_slow_down_is_noticed(estimate, recorded) -> None:
    """After the first third everything takes three times as long; the estimate is right again in the last third."""
    events, expected, cores = recorded
    third = len(events) // 3
    slow = [each._replace(cpu_seconds=each.cpu_seconds * (3 if n > third else 1)) for n, each in enumerate(events)]
    guesses = [*estimate.replay(estimate.quiet(slow, cores), expected, cores)]
    assert out_of_bounds(guesses[2 * len(guesses) // 3 :], FACTOR) == []


def test_a_second_run_knows_from_the_first(estimate, recorded) -> None:
    """The mean seconds by rule that a run leaves behind are taken before the price, which may be off by any factor."""
    from snakemake_logger_plugin_utopia import run as logger_run

    events, expected, cores = recorded
    taken: dict[str, list[float]] = {}
    for event in estimate.quiet(events, cores):
        taken.setdefault(event.rule, []).append(event.ended - event.started)
    run = logger_run.RunState()
    run.expected = logger_run.Expectation({rule: 50 * seconds for rule, seconds in expected.items()}, cores)
    run.former_seconds = {rule: sum(each) / len(each) for rule, each in taken.items()}
    run.plan({rule: len(each) for rule, each in taken.items()})
    work = sum(sum(each) for each in taken.values())
    assert run.remaining_seconds() == pytest.approx(work / cores)
