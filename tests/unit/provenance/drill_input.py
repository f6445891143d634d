"""Rows C of the drill: input that is none, which commands must refuse in a few words, soon, and without a traceback.

The fuzz test (`tests/unit/cli/test_cli_fuzz.py`) tries far more of it; these are the cases that were reported.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))

from test_cli_fuzz import HOSTILE, Commands, judge, overlay

CELL = "ulda_table_7/et.ulda/valence.pcc"
ASKED = (["explain", CELL], ["verify"], ["why", "results/miniature/tables/ulda_table_7.csv"],
         ["touched", "--host", "x"], ["crate"])  # fmt: skip
TO_COMMANDS = [
    ("a host without a name", ["touched", "--host", ""]),
    ("NUL in a path", ["explain", "\0"]),
    ("NUL in the data folder", ["plan", "--data", "\0"]),
    ("a name of 5,000 letters", ["explain", "x" * 5000]),
    ("a file name of 300 letters", ["why", "results/miniature/" + "x" * 300]),
    ("a device as a crate", ["crate", "--check", "/dev/zero"]),
    ("a device as configuration", ["verify", "--configfile", "/dev/zero"]),
    ("a number of 5,000 digits", ["plan", "--videos", "9" * 5000]),
]
SETTINGS = [
    ("an integer of 5,000 digits", "seed", "9" * 5000),
    ("a date that is none", "study", "2026-02-31"),
    ("a number that is none", "seed", "!!float abc"),
    ("an integer that is none", "seed", '!!int ""'),
    ("a width that heads do not divide", "datasets.liris.models.et", "{d_model: 11}"),
    ("a negative size", "models", "{bi_gru: {units: [-1, 12]}}"),
    ("2^63 layers", "models", "{et: {layers: 9223372036854775808}}"),
    ("7e9 annotators", "datasets.tvsum.options", "{label_annotators: 7e9}"),
    ("true members", "treatments.baseline", "{loss: mse, members: true}"),
    ("yes repeats", "repeats", "yes"),
    ("results in the program", "results", "workflow"),
    ("results in git's folder", "results", ".git"),
    ("results in the system", "results", "/etc"),
    ("results with a line break", "results", '"a\\nb"'),
    ("a feature file above its folder", "features.google_pool5_summe.files", "['../..']"),
    ("a feature file of the system", "features.google_pool5_summe.files", "[/etc/passwd]"),
]


def cases(commands: Commands) -> Iterator[tuple[str, list[str], str | None]]:
    """(input, command, configuration); None: there is no config.yaml."""
    for what in ("merge keys", "nesting"):
        for words in (["plan"], ["status"], ["explain", CELL]):
            yield f"YAML: {what}", words, HOSTILE[what]
    for words in ASKED:
        yield "config.yaml is missing", words, None
        yield "config.yaml is no mapping", words, HOSTILE["a list"]
    for number, (what, place, value) in enumerate(SETTINGS):
        above = commands.folder / f"above_{number}.yaml"
        above.write_text(overlay(place, value))
        yield what, ["plan", "--configfile", above.name], commands.config
    for what, words in TO_COMMANDS:
        yield what, words, commands.config


def refused(source: Path) -> Iterator[tuple[str, str, str]]:
    """(input, command, outcome) of every case, tried in a copy of the checkout that holds the study."""
    with tempfile.TemporaryDirectory() as folder:
        copy, home = Path(folder, "copy"), Path(folder, "home")
        home.mkdir()
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", ".snakemake"))
        commands = Commands(copy, home)
        try:
            for what, words, config in cases(commands):
                shown = " ".join(word if len(word) < 60 else f"{word[:20]}..." for word in words).replace("\0", "\\0")
                yield what, shown, _outcome(commands, words, config)
        finally:
            commands.end()


def _outcome(commands: Commands, words: list[str], config: str | None) -> str:
    try:
        answer = judge(commands, words, config)
    except BaseException as fault:  # what pytest raises is none
        if isinstance(fault, KeyboardInterrupt):
            raise
        return f"NOT FOUND: {str(fault).strip().splitlines()[0]}"
    lines = [line.strip().replace(f"{commands.folder}/", "") for line in answer["said"].splitlines() if line.strip()]
    first = next((line for line in lines if "error: " in line), lines[0] if lines else "")
    first += f" {lines[1]}" if first.endswith(":") else ""
    said = f"exit {answer['code']}: {first[:150]}".replace("\0", "\\0")
    return f"yes ({said})" if answer["code"] in (1, 2) else f"NOT FOUND: {said}"
