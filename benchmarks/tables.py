"""The tables of docs/speed.md from the files in benchmarks/results: `python benchmarks/tables.py [--fix]`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from _results import RESULTS, by_stage, table

PAGE = RESULTS.parents[1] / "docs" / "speed.md"
BLOCK = re.compile(r"(<!-- benchmarks/tables\.py writes this: (\w+(?:-\w+)*) -->\n).*?(<!-- end -->)", re.DOTALL)


def peers(rows: list[dict[str, Any]], seconds: int) -> list[str]:
    """The ways of other tools beside ours; ratios are medians of rounds, with the least and the largest."""
    shown = []
    for row in rows:
        if "cpu_s" not in row:
            continue
        spread = f"{row['of_ours']:.2f} ({row['least']:.2f} to {row['largest']:.2f})" if "of_ours" in row else ""
        same = {True: "the same bits", False: "other frames"}.get(row.get("same_frames"), "")
        shown.append(
            {
                "task": row["task"],
                "clip": f"{row['clip']}, {seconds} s",
                "way": row["way"],
                "CPU seconds": f"{row['cpu_s']:.2f}",
                "times ours": spread,
                "frames": same,
            }
        )
    return table(shown, ["task", "clip", "way", "CPU seconds", "times ours", "frames"])


def block(name: str, folder: Path = RESULTS) -> str:
    """The tables of one benchmark, of every machine that has a file."""
    lines: list[str] = []
    for path in sorted(folder.glob(f"{name}-*.json")):
        body = json.loads(path.read_text(encoding="utf-8"))
        if name == "gpu" and path.name.startswith("gpu-tiny-"):
            continue
        versions = ", ".join(f"{key} {value}" for key, value in body["versions"].items())
        lines += ["", f"{body['machine']}; {versions}:"]
        lines += ["", *peers(body["rows"], body["seconds"])] if name == "peers" else by_stage(body["rows"])
    return "\n".join([*lines, "", ""]) if lines else "\nNothing was measured yet.\n\n"


def page(text: str) -> str:
    """The page with its tables as the files have them."""
    return BLOCK.sub(lambda found: found[1] + block(found[2]) + found[3], text)


def main() -> int:
    """Say whether the page is as the files have it; `--fix` writes it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fix", action="store_true")
    chosen = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    wanted = page(text)
    if chosen.fix:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != text:
        print("docs/speed.md is not what benchmarks/results says: run `python benchmarks/tables.py --fix`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
