"""Every change that a forger, a copy or a slip may make to a finished study, and which command finds it.

    python tests/unit/provenance/audit_drill.py [--whole] [--study FOLDER] [WORD ...]

Makes the small study of the tests, or takes the one in FOLDER: a copy of the checkout with `tiny.yaml`, the
configuration of its results. With words, only rows are tried whose item or change holds one of them; each is tried on
a copy. `--whole` makes, or says that there was made, all that the study is asked for; then no command is told that it
was made in part. What is printed: item, change, command, and whether it is found; `no, by nature` where no such command
can tell, and why. The exit code is 1 if anything is not found that a cheap check would find, or if a command finds
something where nothing is wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]

from drill_input import refused  # noqa: E402
from drill_rows import Row, rows  # noqa: E402
from studies import Small, made  # noqa: E402

BESIDE = ("workflow", "envs", "config.yaml", "tiny.yaml")
"""What commands read of the checkout."""


def copied(source: Path, folder: Path, row: Row, *, whole: bool) -> Small:
    """A copy of the study for one row; it becomes the working directory."""
    if row.of_checkout:
        shutil.copytree(source, folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        folder.mkdir()
        for name in BESIDE:
            (folder / name).symlink_to(source / name)
        shutil.copytree(source / "results", folder / "results")
    os.chdir(folder)
    return Small(folder, is_whole=whole)


def outcome(row: Row, said: list[str]) -> str:
    """What a row has shown, in words."""
    if row.is_quiet:
        return f"FALSE ALARM: {said[0]}" if said else "nothing found, as it must be"
    if row.by_nature:
        return f"yes, although it need not be ({said[0]})" if said else f"no, by nature ({row.by_nature})"
    return f"yes ({len(said)}: {said[0]})" if said else "NOT FOUND"


def tried(source: Path, words: list[str], *, whole: bool) -> Iterator[tuple[str, str, str, str]]:
    """(item, change, command, outcome) of each row."""
    for row in rows():
        if (words and not any(word in f"{row.item} {row.change}" for word in words)) or (row.of_whole and not whole):
            continue
        with tempfile.TemporaryDirectory() as folder:
            study = copied(source, Path(folder, "copy"), row, whole=whole)
            try:
                said = outcome(row, row.ask(study))
            except Exception as fault:
                said = f"NOT FOUND: the row itself failed ({type(fault).__name__}: {fault})".replace("\n", " ")[:300]
            os.chdir(source)  # out of the folder that goes now
        yield row.item, row.change, row.command, said
    if not words or any(word in "C input" for word in words):
        for what, command, said in refused(source):
            yield "C", what, command, said


def main() -> int:
    """Try everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--study", type=Path, metavar="FOLDER")
    parser.add_argument("words", nargs="*")
    chosen = parser.parse_args()
    bad, count = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        source = chosen.study.absolute() if chosen.study else made(Path(folder, "study"), whole=chosen.whole)
        if not all((source / path).exists() for path in (*BESIDE, "results")):
            parser.error(f"{source} does not hold a study and its configuration, tiny.yaml")
        for item, change, command, said in tried(source, chosen.words, whole=chosen.whole):
            print(f"{item} | {change} | {command} | {said}", flush=True)
            bad, count = bad + said.startswith(("NOT FOUND", "FALSE ALARM")), count + 1
    print(f"{count} tried, {bad} wrong")
    return 1 if bad or not count else 0


if __name__ == "__main__":
    sys.exit(main())
