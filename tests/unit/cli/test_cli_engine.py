"""How Snakemake is called, and what is read from its dry run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snakemake.cli import parse_config

from utopia.cli import engine
from utopia.errors import UtopiaError

readable = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\u2028\u2029\u0085\ufeff"))


@given(readable.filter(lambda text: text.strip()))
def test_any_text_reaches_the_workflow_as_it_is(text: str) -> None:
    """The oracle is Snakemake's own parser."""
    assert parse_config([f"data={engine.quoted(text)}"]) == {"data": text}


@pytest.mark.parametrize(
    "text", ["12", "1e5", "True", "null", "it's", '"x"', "a: b", "[a]", "{a: b}", "# a", "nan", " a ", "~"]
)
def test_text_that_yaml_would_read_as_something_else(text: str) -> None:
    assert parse_config([f"study={engine.quoted(text)}"]) == {"study": text}


def test_the_command_line() -> None:
    words = engine.command({"study": "paper"}, "--cores", "2", extra=["--forcerun", "x"])
    assert Path(words[0]).name == "snakemake"
    assert words[1:] == ["--config", "study= 'paper' ", "--cores", "2", "--forcerun", "x"]
    assert engine.command({}, "--cores", "2")[1:] == ["--cores", "2"]


@pytest.mark.parametrize(
    ("extra", "values", "rest"),
    [
        (["--config", "a=1", "b=2", "-n"], ["a=1", "b=2"], ["-n"]),
        (["-n", "-C", "a=1"], ["a=1"], ["-n"]),
        (["--config=a=1", "target"], ["a=1"], ["target"]),
        (["--config", "a=1", "target"], ["a=1"], ["target"]),
        (["target", "--keep-going"], [], ["target", "--keep-going"]),
    ],
)
def test_settings_of_the_user_are_joined_to_ours(extra: list[str], values: list[str], rest: list[str]) -> None:
    words = engine.command({"study": "s"}, "--cores", "1", extra=extra)
    assert words[1:] == ["--config", "study= 's' ", *values, "--cores", "1", *rest]


def test_a_missing_snakemake_is_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(UtopiaError, match="make setup"):
        engine.executable()


@pytest.mark.long
def test_dry_runs_of_a_real_workflow(tiny) -> None:
    jobs = {job.rule: job for job in engine.dry_run({"data": "a b"}, tiny.folder)}
    assert {rule: job.count for rule, job in jobs.items()} == {"first": 1, "second": 1}
    assert jobs["first"].kinds() == {"missing output files": 1}
    assert jobs["second"].kinds() == {"input files updated by another job": 1, "missing output files": 1}
    assert not tiny.results.exists(), "nothing is made"
    assert tiny.run("--quiet", data="a b").returncode == 0
    assert engine.dry_run({"data": "a b"}, tiny.folder) == [], "nothing is left to do"


def test_a_dry_run_heeds_the_default_profile_but_not_its_logger(tiny) -> None:
    profile = tiny.folder / "profiles" / "default" / "config.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text("logger: utopia\nquiet: [all]\nforceall: true\n")
    jobs = {job.rule: job for job in engine.dry_run({}, tiny.folder)}
    assert jobs["first"].kinds() == {"forced execution": 1}


def test_a_workflow_that_snakemake_refuses(tiny) -> None:
    (tiny.folder / "Snakefile").write_text("rule all:\n    input: 'nobody makes this'\n")
    with pytest.raises(UtopiaError, match="nobody makes this"):
        engine.dry_run({}, tiny.folder)


def test_jobs_of_a_group_have_reasons_too(tiny) -> None:
    """Snakemake prints those of a group apart; nine tenths of the study's rules are in one."""
    snakefile = tiny.folder / "Snakefile"
    snakefile.write_text(re.sub(r"(rule (?:first|second):\n)", r'\1    group: "g"\n', snakefile.read_text()))
    assert snakefile.read_text().count("group:") == 2
    jobs = engine.dry_run({}, tiny.folder)
    assert {job.rule for job in jobs} == {"first", "second"} and all(job.kinds() for job in jobs)


@pytest.mark.parametrize("reasons", [{}, {"a": []}, {"a": ["code has changed", ""]}, {"a": ["forced"] * 3}])
def test_a_job_without_a_reason_is_an_error(reasons: dict[str, list[str]]) -> None:
    with pytest.raises(UtopiaError, match="would run 2 jobs of a and gave"):
        engine.planned_jobs({"counts": {"a": 2}, "reasons": reasons})
