"""What benchmarks measured: a line of JSON as soon as it is there, then a file that docs are made of."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


class Rows:
    """Results of a run: printed, kept, and written line by line, so that a run that is cut off has told what it found.

    Args:
        path: the JSON lines; None: they are not written.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()
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
    return float(f"{value:.4g}") if isinstance(value, float) else value


def machine(device: str = "cpu") -> dict[str, Any]:
    """What numbers depend on; no name of a host, no path."""
    versions = {"python": platform.python_version()}
    for name in ("torch", "numpy", "av", "cv2", "torchcodec"):
        if sys.modules.get(name) is not None:
            versions[name] = str(sys.modules[name].__version__)
    kind = f"{platform.machine()}, {_processor()}"
    if device == "cuda":
        import torch

        kind = torch.cuda.get_device_name()
    return {"machine": kind, "versions": versions}


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


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """A Markdown table of some columns; a row without a value has none there."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in rows:
        cells = [
            ("" if row.get(name) is None else f"{row[name]:g}" if _is_number(row[name]) else str(row[name]))
            for name in columns
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


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
