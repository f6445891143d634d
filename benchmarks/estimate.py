"""How good the estimate of the time left is: `python benchmarks/estimate.py [results/miniature [--write FILE]]`.

Reads the jobs of a finished run from its records and benchmark files and plays them back to the logger's own estimate,
which sees at each minute what it saw then. Twice: as they ran, with all other load of that machine, and as they would
run on a quiet one (each job takes its CPU seconds; jobs begin in the recorded order, on as many cores). Without a
folder the run is that of tests/data/miniature_jobs.json. `--write` keeps the jobs for the test, with what the plan
expected of each rule.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from snakemake_logger_plugin_utopia import run as logger_run

RECORDED = Path(__file__).resolve().parents[1] / "tests" / "data" / "miniature_jobs.json"


class Event(NamedTuple):
    """A job of a finished run; seconds since the run began."""

    rule: str
    started: float
    ended: float
    cpu_seconds: float


class Guess(NamedTuple):
    """An estimate, and how it turned out."""

    at: float
    estimated: float | None
    left: float


def recorded(folder: Path) -> list[Event]:
    """The jobs of a study's records, in the order in which they began."""
    found = []
    for path in folder.rglob("*.record.json"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        ended = datetime.fromisoformat(facts["ended"]).timestamp()
        # what a record times begins after Python has started; the benchmark file has the whole of the job's process
        name = str(facts.get("log") or "").partition("/logs/")[2].removesuffix(".log")
        file = folder / "benchmarks" / f"{name}.jsonl"
        whole = json.loads(file.read_text().splitlines()[-1]) if file.is_file() else {}
        seconds = max(float(whole.get("s") or 0.0), facts["seconds"])
        cpu = max(float(whole.get("cpu_time") or 0.0), facts["cpu_seconds"])
        found.append(Event(facts["rule"], ended - seconds, ended, cpu))
    first = min(event.started for event in found)
    moved = [event._replace(started=event.started - first, ended=event.ended - first) for event in found]
    return sorted(moved, key=lambda event: event.started)


def quiet(events: Sequence[Event], cores: int, overhead: float = 1.0) -> list[Event]:
    """The same jobs on a quiet machine: each begins when a core is free and takes its CPU seconds and Snakemake's."""
    free = [0.0] * cores
    found = []
    for event in events:
        core = free.index(min(free))
        start = free[core]
        free[core] = start + event.cpu_seconds + overhead
        found.append(event._replace(started=start, ended=free[core]))
    return found


def replay(events: Sequence[Event], expected: dict[str, float], cores: int, every: float = 60.0) -> Iterator[Guess]:
    """The logger's estimate at each `every` seconds of a run, and the time that was left then."""
    end = max(event.ended for event in events)
    clock = [0.0]
    expectation = logger_run.Expectation(expected, cores)
    with mock.patch.object(logger_run.time, "time", lambda: clock[0]):
        run = logger_run.RunState()
        run.expected = expectation
        run.plan(Counter(event.rule for event in events))
        moments = [(event.started, 1, number) for number, event in enumerate(events)]
        moments += [(event.ended, 0, number) for number, event in enumerate(events)]
        moments += [(every * step, 2, 0) for step in range(1, int(end / every) + 1)]
        for at, kind, number in sorted(moments):
            clock[0] = at
            if kind == 0:
                run.finish(number)
            elif kind == 1:
                run.start({"jobid": number, "rule_name": events[number].rule, "created": at})
            else:
                yield Guess(at, run.remaining_seconds(), end - at)


def main() -> None:
    """Play back, print and keep."""
    from _results import finish, options, rows_of

    parser = options(__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args()
    rows = rows_of(chosen)
    facts = of_folder(chosen.folder, chosen.cores) if chosen.folder else json.loads(RECORDED.read_text("utf-8"))
    events = [Event(*job) for job in facts["jobs"]]
    cores, expected = facts["cores"], facts["expected"]
    for title, those in (("as it ran", events), ("on a quiet machine", quiet(events, cores))):
        for guess in replay(those, expected, cores):
            estimated = guess.estimated or 0.0
            times = {"minute": guess.at / 60, "estimated, s": estimated, "left, s": guess.left}
            rows.add(run=title, **times, **{"estimated / left": estimated / guess.left})
    if chosen.write:
        chosen.write.write_text(json.dumps(facts, indent=None).replace("], [", "],\n [") + "\n", encoding="utf-8")
    finish("estimate", chosen, rows, jobs=len(events))


def of_folder(folder: Path, cores: int) -> dict[str, Any]:
    """What is kept of a finished run: its jobs, and what the plan expects of each rule where nothing was measured."""
    from utopia.config.load import load
    from utopia.plan.plan import Plan
    from utopia.plan.price import price

    plan = Plan(load({"study": folder.name, "results": "/nothing/measured/here"}))
    expected = {rule: round(seconds, 2) for rule, seconds in price(plan).seconds_by_rule().items()}
    jobs: list[list[Any]] = [[event.rule, *(round(value, 2) for value in event[1:])] for event in recorded(folder)]
    return {"study": folder.name, "cores": cores, "expected": expected, "jobs": jobs}


if __name__ == "__main__":
    main()
