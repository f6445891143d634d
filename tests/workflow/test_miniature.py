"""The pipeline end to end: what is made, what reruns, what survives a kill. Outputs are asserted, not exit codes."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import latex
import pytest
import yaml
from whole import SECOND_RUN, Checkout

pytestmark = pytest.mark.workflow


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reran(said: str) -> dict[str, int]:
    """The rules that a dry run would run, those of batches as `train_*`, and the number of jobs of each."""
    rules = {rule: int(jobs) for rule, jobs in re.findall(r"^ +([a-z_]+\*?) +(\d+) ", said, flags=re.MULTILINE)}
    told = re.search(r"^(\d+) jobs? would run", said, flags=re.MULTILINE)
    assert sum(rules.values()) == (int(told[1]) if told else 0), said
    assert bool(rules) != ("nothing to do" in said.lower()), said
    return rules


def test_every_table_and_figure_of_the_catalogue_is_made(finished: Checkout) -> None:
    resources = finished.folder / "workflow" / "resources"
    for kind, suffixes in (("tables", ("csv", "md", "tex", "html")), ("figures", ("pdf", "png", "csv"))):
        for entry in (resources / kind).glob("*.yaml"):
            if "miniature" not in (yaml.safe_load(entry.read_text()).get("studies") or ["miniature"]):
                continue
            for suffix in suffixes:
                made = finished.results / kind / f"{entry.stem}.{suffix}"
                assert made.is_file() and made.stat().st_size > 50, made


def test_every_cell_of_every_table_is_measured_or_printed_or_says_why_not(finished: Checkout) -> None:
    tables = {path.stem: rows(path) for path in (finished.results / "tables").glob("*.csv")}
    assert {f"ulda_table_{number}" for number in range(1, 10)} < set(tables)
    for name, table in tables.items():
        assert any(row["status"] == "measured" for row in table), name
        for row in table:
            assert row["status"] in ("measured", "quoted", "absent", "dash", "blank")
            if row["status"] not in ("measured", "quoted"):
                assert row["reason"], row
            assert row["cell"] == f"{name}/{row['row']}/{row['column']}"
    table = tables["ulda_table_1"]
    trained = [row for row in table if row["row"].split(".")[0] in ("et", "pgl_sum", "rmn")]
    assert len(trained) == 32
    for row in trained:
        assert row["status"] == "measured" and row["n"] == "3", row
        float(row["value"]), float(row["std"])
        assert row["verdict"] == "not comparable" and "miniature" in row["verdict_reason"]
    quoted = [row for row in table if row["status"] == "quoted"]
    assert quoted and all(row["value"] == "" and row["published"] for row in quoted)


@pytest.mark.parametrize("full", [False, True], ids=["compact", "full"])
def test_every_table_fits_a_page_of_latex(finished: Checkout, tmp_path: Path, full: bool) -> None:
    latex.needs_latex()
    tables = {path.stem.replace("_", "-"): path.read_text() for path in finished.results.glob("tables/*.tex")}
    assert len(tables) > 15 and latex.faults(tables, tmp_path, full=full) == []


def test_rmn_has_a_memory_on_every_data_set(finished: Checkout) -> None:
    """Rows differ, reads depend on queries, and writing is neither always nor never: what its replicas say."""
    said: dict[str, list[dict[str, float | None]]] = {}
    for path in sorted((finished.results / "runs").glob("*.rmn.*/training.json")):
        if path.parent.name.startswith("planted_"):  # one of its runs has no memory, on purpose
            continue
        replicas = json.loads(path.read_text())["replicas"]
        said.setdefault(path.parent.name.split(".")[0], []).extend(replica["diagnostics"] for replica in replicas)
    assert set(said) == {"liris", "pmemo", "summe", "tvsum"}
    for dataset, replicas in said.items():
        for used in replicas:
            assert used["distinctness"] > 0.1 and used["query"] > 0.005 and used["age_steps"] > 0, (dataset, used)
            assert used["choices"] > 0 and 0.05 < used["entropy"] <= 1, (dataset, used)
            if used["choices"] >= 10:  # the test songs are so short that a replica has one choice
                assert 0.05 < used["writes"] < 0.95 and used["td_error"] > 0, (dataset, used)
        choices, writes = ([used[name] for used in replicas] for name in ("choices", "writes"))
        written = sum(number * share for number, share in zip(choices, writes, strict=True))
        assert 0.05 < written / sum(choices) < 0.95, (dataset, writes)


def test_the_bad_video_of_each_data_set_is_a_declared_absence(finished: Checkout) -> None:
    coverage = rows(finished.results / "audit" / "coverage.csv")
    assert any("liris" in row.values() for row in coverage)
    manifest = json.loads((finished.results / "inputs" / "liris.json").read_text())
    reasons = [item.get("video_reason") or item.get("reason") for item in manifest["items"]]
    assert sum(bool(reason) for reason in reasons) == 1


def test_every_output_has_a_record_that_names_its_hash(finished: Checkout) -> None:
    recorded: dict[str, str] = {}
    for path in finished.results.rglob("*.record.json"):
        record = json.loads(path.read_text())
        assert record["status"] == "done" and record["code"]["fingerprint"]
        assert record["code"]["undeclared"] == [], f"{path.name}: loaded code that its fingerprint does not cover"
        recorded.update({output["path"]: output["sha256"] for output in record["outputs"]})
    import hashlib

    for path in [*finished.results.glob("tables/*.*"), *finished.results.glob("runs/*/*.safetensors")]:
        if path.name.endswith(".record.json"):
            continue
        relative = str(path.relative_to(finished.folder))
        assert recorded[relative] == hashlib.sha256(path.read_bytes()).hexdigest(), relative
    text = "".join(path.read_text() for path in finished.results.rglob("*.record.json"))
    assert str(Path.home()) not in text


def test_everything_is_what_its_records_say(finished: Checkout) -> None:
    """All tables and figures come out again from stored predictions, whatever their data set and protocol."""
    result = finished.utopia("verify", "--json")
    report = json.loads(result.stdout)
    assert report["findings"] == [], result.stdout
    assert result.returncode == 0 and report["checked"]["recomputed"] > 100


def test_a_second_run_does_nothing_and_says_so(finished: Checkout) -> None:
    said = (finished.folder / SECOND_RUN).read_text(encoding="utf-8")
    assert "nothing to do" in said.lower(), said


def test_a_comment_reruns_nothing_and_a_line_of_code_only_what_depends_on_it(finished: Checkout) -> None:
    package = finished.folder / "workflow/lib/utopia"
    edits = {package / "labels/build.py": "# a remark", package / "distribution/convolve.py": "_EXTRA = 1"}
    before = {module: module.read_text() for module in edits}
    try:
        for module, line in edits.items():
            module.write_text(f"{before[module]}\n{line}\n")
        rules = reran(finished.snakemake("--dry-run"))
    finally:
        for module, text in before.items():
            module.write_text(text)
    assert "approximate_distribution" in rules
    assert not rules.keys() & {"extract_features", "list_inputs", "generate_miniature", "build_labels"}, rules


def test_a_setting_reruns_only_what_depends_on_it(finished: Checkout) -> None:
    rules = reran(finished.snakemake("--dry-run", "--config", "models={'et': {'dropout': 0.25}}"))
    batches = [path.stem for path in (finished.results / "logs" / "train").glob("*.log")]
    # the planted effects have their own dropout
    of_et = [batch for batch in batches if "_et_" in f"{batch}_" and not batch.startswith("planted_")]
    assert 0 < len(of_et) < len(batches)
    assert rules["train_*"] == rules["evaluate_*"] == len(of_et)
    assert "render_table" in rules
    assert not rules.keys() & {"extract_features", "approximate_distribution", "build_labels"}


@pytest.mark.parametrize(
    "change",
    [
        # part of the names of files; and settings of two protocols
        "samplers: {tns: {window: 8}}\ntreatments: {l1_ensemble: {members: 5}}\nmodels: {pgl_sum: {heads: 2}}",
        # what is asked for; and which runs share a job
        "tables: [ulda_table_7]\nengine: {runs: 2}",
    ],
    ids=["settings", "plan"],
)
def test_status_counts_the_jobs_that_snakemake_would_run_after_a_change(finished: Checkout, change: str) -> None:
    (finished.folder / "change.yaml").write_text(change)
    said = finished.snakemake("--dry-run", "--configfile", "change.yaml")
    result = finished.utopia("status", "--configfile", "change.yaml", "--json")
    again = json.loads(result.stdout)["again"]
    assert again["jobs"] == int(re.search(r"(\d+) jobs? would run", said)[1]), (said, again)  # type: ignore[index]
    assert again["reasons"]


def test_plain_snakemake_refuses_a_misspelt_setting_with_file_line_and_suggestion(fresh: Checkout) -> None:
    config = fresh.folder / "config.yaml"
    config.write_text(config.read_text().replace("repeats: 3", "repeat: 3"))
    line = next(i for i, text in enumerate(config.read_text().splitlines(), 1) if text.startswith("repeat:"))
    said = fresh.snakemake(check=False)
    assert f"config.yaml:{line}" in said and "'repeats'" in said, said
    assert not fresh.results.exists() or not list(fresh.results.rglob("*.csv"))
