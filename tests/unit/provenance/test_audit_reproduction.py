"""Tiers 2 and 3 of the audit: runs trained again and features extracted again, beside what is stored."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forgeries import empty_checkpoints
from snakemake.iocontainers import Namedlist
from studies import ROOT, Small

from utopia import arrays, files
from utopia.provenance import replay as replaying
from utopia.provenance import values
from utopia.provenance.ledger import Ledger
from utopia.provenance.lineage import Graph
from utopia.provenance.reproduction import compare_features, link, repeated_predictions

pytestmark = pytest.mark.workflow

CELL = "ulda_table_7/rmn.ulda/valence.rmse"


def again(study: Small, *words: str) -> tuple[int, dict[str, Any]]:
    done = study.utopia("verify", "--configfile", "tiny.yaml", "--cores", "1", "--json", *words)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def contents(folder: Path) -> dict[str, str]:
    return {str(path): files.sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_forged_run_is_told_by_training_it_again_and_what_was_not_forged_is_identical(
    small_checkout: Path, tmp_path: Path
) -> None:
    """Of a study as it was made, test_audit_asked.py trains a run again: the same bytes."""
    shutil.copytree(small_checkout, tmp_path / "copy", ignore=shutil.ignore_patterns(".snakemake", "t"))
    study = Small(tmp_path / "copy")
    path = "runs/pmemo.rmn.cwl/metrics.csv"
    lines = study.path(path).read_text().splitlines(keepends=True)
    forged = [
        ",".join([*line.split(",")[:-1], "0.001\n"]) if ",,rmse_item," in line and line.startswith("valence") else line
        for line in lines
    ]
    study.forge(path, "".join(forged).encode())
    forge_labels(study)
    before = contents(study.path(""))
    code, report = again(study, "--retrain", CELL)
    assert contents(study.path("")) == before, "the study's own folder was written to"
    assert report["tier"] == "retrain"
    verdicts = {one["name"]: one["verdict"] for one in report["compared"]}
    assert verdicts[f"{ROOT}/inputs/pmemo.json"] == "identical"
    assert any(verdict == "different" for name, verdict in verdicts.items() if "labels" in name), verdicts
    assert "predictions of pmemo.rmn.cwl from its checkpoints" in verdicts
    one = report["compared"][-1]
    assert (code, one["name"], one["verdict"], one["then"]) == (1, CELL, "different", pytest.approx(0.001))
    assert one["now"] != one["then"]


def forge_labels(study: Small) -> None:
    """Other labels that nothing made of them knows."""
    path = study.path("labels/pmemo/labels.safetensors")
    stored = arrays.load(path)
    arrays.save(path, {name: np.array(stored[name]) / 2 for name in stored}, stored.meta)
    study.forge("labels/pmemo/labels.safetensors", path.read_bytes())


@pytest.mark.parametrize("model", ["et", "pgl_sum", "rmn"])
def test_checkpoints_predict_what_stands_beside_them(small: Small, model: str) -> None:
    run = f"pmemo.{model}.baseline"
    graph = small.graph()
    record = graph.makers[f"{ROOT}/runs/{run}/predictions.safetensors"]
    (one,) = repeated_predictions(record, graph.ledger.portable, {run})
    assert (one.verdict, one.now) == ("identical", 0.0)
    empty_checkpoints(small, run)
    (one,) = repeated_predictions(record, graph.ledger.portable, {run})
    assert one.verdict == "different"


def test_all_checkpoints_are_looked_at_by_one_command(small_checkout: Path) -> None:
    code, report = again(Small(small_checkout), "--predict")
    assert (code, report["tier"], {one["verdict"] for one in report["compared"]}) == (0, "predict", {"identical"})
    assert len(report["compared"]) == len(list(Small(small_checkout).path("runs").glob("*/predictions.safetensors")))


def test_features_extracted_again_are_the_stored_ones(small_checkout: Path) -> None:
    code, report = again(Small(small_checkout), "--reextract", CELL)
    assert code == 0 and {one["verdict"] for one in report["compared"]} == {"identical"}
    assert {one["name"] for one in report["compared"]} >= {"vggish of song_1", "vggish of song_2"}


@pytest.mark.parametrize(("scale", "verdict"), [(1e-5, "within tolerance"), (0.1, "different")])
def test_features_that_differ_are_measured(small: Small, tmp_path: Path, scale: float, verdict: str) -> None:
    link(small.path("features"), tmp_path / ROOT / "features")
    index = f"{ROOT}/features/pmemo/shard-0000.json"
    facts = json.loads((tmp_path / index).read_text())
    entry = next(each["vggish"] for each in facts["items"].values() if "file" in each["vggish"])
    path = tmp_path / ROOT / "features" / entry["file"]
    stored = arrays.load(path)
    before = files.sha256(small.path("features") / entry["file"])
    arrays.save(path, {"features": stored["features"] * np.float32(1 + scale), "times": stored["times"]}, stored.meta)
    assert files.sha256(small.path("features") / entry["file"]) == before, "a second name was written through"
    entry["sha256"] = files.sha256(path)
    files.write_json(tmp_path / index, facts)
    found = {one.verdict: one for one in compare_features(small.graph(), [index], tmp_path)}
    assert set(found) == {"identical", verdict}
    assert found[verdict].now == pytest.approx(scale, rel=0.05)


def test_names_are_given_without_copying(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "x").write_text("x")
    link(tmp_path / "a", tmp_path / "b")
    link(tmp_path / "none", tmp_path / "c")
    assert (tmp_path / "a" / "deep" / "x").samefile(tmp_path / "b" / "deep" / "x")
    assert not (tmp_path / "c").exists()


def test_results_outside_the_checkout_are_left_alone(small: Small, tmp_path: Path) -> None:
    """Their records hold absolute paths: what a job makes again must not land on what is stored."""
    outside = tmp_path / "outside"
    shutil.copytree(small.path(""), outside)
    for record in outside.rglob("*.record.json"):
        record.write_text(record.read_text().replace(f'"{ROOT}/', f'"{outside}/'))
    before = contents(outside)
    graph = Graph(Ledger.read(outside, base=small.folder), str(outside))
    for name in ("labels/pmemo/labels.safetensors", "tables/ulda_table_7.csv"):
        record = graph.makers[f"{outside}/{name}"]
        made = replaying.replay(record, graph.ledger.portable, tmp_path / "scratch")
        assert all(file.is_relative_to(tmp_path / "scratch") for file in made.values())
        assert files.sha256(made[f"{outside}/{name}"]) == files.sha256(outside / name)
    assert contents(outside) == before, "the study's own folder was written to"


@pytest.mark.parametrize("path", ["../../up", "/etc/x", "//etc/x", "a/../../b", "~/x", "<data>/x", ".."])
def test_a_job_that_is_done_again_stays_in_its_folder(tmp_path: Path, path: str) -> None:
    assert replaying.below(tmp_path, path).resolve().is_relative_to(tmp_path)


def test_a_job_that_is_done_again_is_given_all_that_scripts_ask_of_snakemake(repository: Path) -> None:
    """Inputs and outputs by role, as Snakemake has them; every script is searched for what it calls on them."""
    roles = {"features": ["a", "b"], "labels": "c"}
    named = values.Named(roles)
    theirs = Namedlist(fromdict=roles)
    scripts = [path.read_text() for path in (repository / "workflow" / "scripts").glob("*.py")]
    called = {name for text in scripts for name in re.findall(r"snakemake\.(?:input|output)\.(\w+)\(", text)}
    assert {"get", "items"} <= called
    for name in called:
        assert callable(getattr(named, name)), name
    assert named.get("labels") == theirs.get("labels") == named.labels == "c"
    assert named.get("frames", []) == theirs.get("frames", []) == [] and named.get("frames") is theirs.get("frames")
    assert dict(named.items()) == {name: theirs.get(name) for name in roles} and list(named) == ["a", "b", "c"]
