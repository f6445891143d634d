"""What benchmarks measured: a line of JSON as soon as it is there, then a file that docs are made of."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

Way = TypeVar("Way")
Result = TypeVar("Result")

RESULTS = Path(__file__).resolve().parent / "results"


class Rows:
    """Results of a run: printed, kept, and written line by line, so that a run that is cut off has told what it found.

    Args:
        path: the JSON lines; None: they are not written.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()
        self.about: dict[str, Any] = {}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")

    def add(self, **row: Any) -> dict[str, Any]:
        """Take down a result."""
        row = {name: _short(value) for name, value in row.items()}
        self.rows.append(row)
        line = json.dumps(row)
        print(line, flush=True)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        return row


def _short(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_short(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def in_turns(ways: Mapping[Way, Callable[[], Result]], rounds: int) -> dict[Way, list[Result]]:
    """Do every way once in each round, so that other load on the machine hits all alike."""
    results: dict[Way, list[Result]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, work in ways.items():
            results[way].append(work())
    return results


def spread(values: Sequence[float]) -> list[float]:
    """Median, least and largest; `table` shows it as `median (least to largest)`."""
    return [statistics.median(values), min(values), max(values)]


def ratio(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """How many times those these are, round by round: median, least and largest."""
    return spread([a / b for a, b in zip(these, those, strict=True)])


def machine(device: str = "cpu") -> dict[str, Any]:
    """What numbers depend on, with how busy the machine is as they begin; no name of a host, no path."""
    versions = {"python": platform.python_version(), "torch": version("torch")}
    for name in ("torch", "numpy", "av", "cv2", "torchcodec"):
        if sys.modules.get(name) is not None:
            versions[name] = str(sys.modules[name].__version__)
    kind = f"{platform.machine()}, {_processor()}"
    if device == "cuda":
        import torch

        kind = torch.cuda.get_device_name()
    load = round(os.getloadavg()[0], 1)
    return {"machine": kind, "versions": versions, "cores": os.cpu_count(), "load": load}


def peak_memory_mb() -> float:
    """The largest resident memory that this program has had, without that of the process which started it (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _processor() -> str:
    """The processor's model, where the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found[1].strip() if found else platform.system()


def keep(name: str, about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], folder: Path = RESULTS) -> Path:
    """Write `<name>-<machine>-<versions>.json`, which docs are made of."""
    machine_name = re.sub(r"[^a-z0-9]+", "-", about["machine"].lower()).strip("-")
    versions = about["versions"]
    path = folder / f"{name}-{machine_name}-torch{versions['torch'].split('+')[0]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    body = {**about, "rows": list(rows)}
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    return path


def options(description: str | None, rounds: int | None = None) -> argparse.ArgumentParser:
    """The options of every benchmark; `--rounds` where rounds are asked for."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--out", type=Path, help="JSON lines, one a result")
    parser.add_argument("--keep", type=Path, nargs="?", const=RESULTS, help="folder of the results")
    return parser


def rows_of(chosen: argparse.Namespace) -> Rows:
    """Where results go, and how busy the machine is now."""
    rows = Rows(chosen.out)
    rows.about = machine()
    return rows


def finish(name: str, chosen: argparse.Namespace, rows: Rows, **about: Any) -> None:
    """Print the table, and keep the results where that is asked for."""
    print("\n".join(["", *table(rows.rows)]))
    if chosen.keep:
        rounds = {"rounds": chosen.rounds} if "rounds" in chosen else {}
        facts = {**rows.about, **machine(), "load": rows.about["load"], **rounds, **about}
        print(f"\nkept in {keep(name, facts, rows.rows, chosen.keep).name}")


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()) -> list[str]:
    """A Markdown table of some columns (default: all that rows have); a row without a value has none there."""
    rows = list(rows)
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in rows:
        cells = [_cell(row.get(name)) for name in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(value: Any) -> str:
    if isinstance(value, list):
        median, least, largest = (f"{float(f'{each:.3g}'):{',.0f' if abs(each) >= 1000 else 'g'}}" for each in value)
        return f"{median} ({least} to {largest})"
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return "" if value is None else f"{value:g}" if is_number else str(value)


def by_stage(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """One table a stage, of the columns that its rows have."""
    stages: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        stages[row["stage"]].append(row)
    lines: list[str] = []
    for stage, own in stages.items():
        columns = list(dict.fromkeys(name for row in own for name in row if name != "stage"))
        lines += ["", f"### {stage}", "", *table(own, columns)]
    return lines
