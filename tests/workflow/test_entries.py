"""The three ways into the workflow: the Snakefile, workflow/Snakefile, and a module of somebody else's workflow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import warm
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
    done = warm.run("snakemake", "--summary", *options, cwd=folder, env=environment(REPOSITORY), timeout=300)
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
    words = ["-n", "--config", "subjective={repeat: 2}"]
    done = warm.run("snakemake", *words, cwd=tmp_path, env=environment(REPOSITORY))
    assert done.returncode == 1
    assert "repeat: unknown key; did you mean 'repeats'?" in done.stdout + done.stderr


LIMIT = """\
include: {snakefile!r}


onsuccess:
    limit = workflow.scheduler.job_rate_limiter
    print("limit:", limit and limit.max_jobs)
"""


@pytest.mark.parametrize(("asked", "limit"), [((), "None"), (("--max-jobs-per-timespan", "7/1s"), "7")])
def test_jobs_start_without_a_limit_unless_one_is_asked_for(tmp_path: Path, asked: tuple[str, ...], limit: str) -> None:
    (tmp_path / "Snakefile").write_text(LIMIT.format(snakefile=str(REPOSITORY / "Snakefile")))
    words = ["--cores", "1", *asked, "--", "results/miniature/inputs/raw/planted_votes"]
    done = warm.run("snakemake", *words, cwd=tmp_path, env=environment(REPOSITORY))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"limit: {limit}\n" in done.stdout
