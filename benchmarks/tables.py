"""Tables of measured numbers in docs, from the files in benchmarks/results: `python benchmarks/tables.py [--fix]`."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from _results import RESULTS, by_stage, table

WIDEST = 120
"""Characters of a line in docs."""
DOCS = RESULTS.parents[1] / "docs"
BLOCK = re.compile(r"(<!-- benchmarks/tables\.py writes this: (\w+(?:-\w+)*) -->\n).*?(<!-- end -->)", re.DOTALL)


def peers(rows: list[dict[str, Any]]) -> list[str]:
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
                "clip": row["clip"],
                "way": row["way"],
                "CPU seconds": f"{row['cpu_s']:.3f}",
                "times real time": f"{row['times_real_time']:.0f}",
                "times ours": spread,
                "frames": same,
            }
        )
    return table(shown, ["task", "clip", "way", "CPU seconds", "times real time", "times ours", "frames"])


def alike(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows in tables: those that share more columns than the two that name them, or have no others, are one table."""
    tables: list[tuple[set[str], list[dict[str, Any]]]] = []
    for row in rows:
        for columns, own in tables:
            if len(columns & set(row)) > 2 or set(row) <= columns:
                columns |= set(row)
                own.append(row)
                break
        else:
            tables.append((set(row), [row]))
    return [own for _, own in tables]


def surroundings(body: dict[str, Any]) -> str:
    """The machine and what ran there, in words."""
    versions = ", ".join(f"{key} {value}" for key, value in body["versions"].items())
    words = [f"{body['machine']}", versions]
    if "load" in body:
        words.append(f"{body['cores']} cores, load {body['load']:g}")
    words += [f"{body['rounds']} rounds"] if body.get("rounds", 1) > 1 else []
    words += [f"{body['videos']} videos of {body['frames']} frames"] if "frames" in body else []
    return textwrap.fill("; ".join(words) + ":", WIDEST, break_on_hyphens=False)


def block(name: str, folder: Path = RESULTS) -> str:
    """The tables of one benchmark, of every machine that has a file."""
    lines: list[str] = []
    for path in sorted(folder.glob(f"{name}-*.json")):
        body = json.loads(path.read_text(encoding="utf-8"))
        if name == "gpu" and path.name.startswith("gpu-tiny-"):
            continue
        lines += ["", surroundings(body)]
        if name == "peers":
            lines += ["", *peers(body["rows"])]
        elif "stage" in body["rows"][0]:
            lines += by_stage(body["rows"])
        else:
            lines += [line for own in alike(body["rows"]) for line in ("", *table(own))]
    return "\n".join([*lines, "", ""]) if lines else "\nNothing was measured yet.\n\n"


def pages() -> list[Path]:
    """The pages with such tables."""
    return [path for path in sorted(DOCS.glob("*.md")) if BLOCK.search(path.read_text(encoding="utf-8"))]


def page(text: str) -> str:
    """The page with its tables as the files have them."""
    return BLOCK.sub(lambda found: found[1] + block(found[2]) + found[3], text)


def main() -> int:
    """Say whether the pages are as the files have them; `--fix` writes them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fix", action="store_true")
    chosen = parser.parse_args()
    wrong = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if (wanted := page(text)) != text:
            wrong.append(f"docs/{path.name}")
            if chosen.fix:
                path.write_text(wanted, encoding="utf-8")
    if wrong and not chosen.fix:
        print(f"{', '.join(wrong)}: not what benchmarks/results says: run `python benchmarks/tables.py --fix`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
