"""The three ways into the workflow: the Snakefile, workflow/Snakefile, and a module of somebody else's workflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from checkout import environment

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {"study": "miniature", "tables": ["ulda_table_9", "eev_table_3"], "figures": ["ulda_figure_1"]}
MODULE = """\
module utopia:
    snakefile:
        {snakefile!r}
    config:
        config["subjective"]


use rule * from utopia as utopia_*
"""


def summary(folder: Path, *options: str) -> set[tuple[str, str]]:
    """The files that a plain `snakemake` would make, each with its rule."""
    command = [sys.executable, "-m", "snakemake", "--summary", *options]
    done = subprocess.run(command, cwd=folder, env=environment(REPOSITORY), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    heading, *lines = (line.split("\t") for line in done.stdout.splitlines() if "\t" in line)
    file, rule = heading.index("output_file"), heading.index("rule")
    return {(line[file], line[rule]) for line in lines}


def test_all_ways_in_plan_the_same_files(tmp_path: Path) -> None:
    """The folder is another one each time, so that no results are there: a whole plan is seen."""
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SETTINGS))
    expected = summary(REPOSITORY, "--directory", str(tmp_path), "--configfile", str(settings))
    assert {rule for _, rule in expected} >= {"render_table", "render_figure", "build_labels", "extract_features"}

    snakefile = ["--snakefile", "workflow/Snakefile", "--directory", str(tmp_path), "--configfile", str(settings)]
    assert summary(REPOSITORY, *snakefile) == expected

    (tmp_path / "Snakefile").write_text(MODULE.format(snakefile=str(REPOSITORY / "workflow" / "Snakefile")))
    settings.write_text(json.dumps({"subjective": SETTINGS}))
    imported = summary(tmp_path, "--configfile", str(settings))
    assert imported == {(file, f"utopia_{rule}") for file, rule in expected}


def test_a_fault_in_a_module_s_settings_is_named(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(MODULE.format(snakefile=str(REPOSITORY / "workflow" / "Snakefile")))
    command = [sys.executable, "-m", "snakemake", "-n", "--config", "subjective={repeat: 2}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(REPOSITORY), capture_output=True, text=True)
    assert done.returncode == 1
    assert "repeat: unknown key; did you mean 'repeats'?" in done.stdout + done.stderr
