"""Tiers 2 and 3 of the audit: runs trained again and features extracted again, beside what is stored."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

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
from utopia.provenance.reproduction import compare_features, compare_files, link, repeated_predictions

pytestmark = pytest.mark.workflow

CELL = "ulda_table_7/rmn.ulda/valence.rmse"


def contents_of(folder: Path) -> dict[str, str]:
    return {str(path): files.sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_manifests_and_labels_made_again_are_told_from_forged_ones(small: Small, tmp_path: Path) -> None:
    """With a run trained again, `test_audit_asked.py` compares them by the command."""
    names = (f"{ROOT}/inputs/pmemo.json", f"{ROOT}/labels/pmemo/labels.safetensors")
    graph, scratch = small.graph(), tmp_path / "scratch"
    for name in names:
        replaying.replay(graph.makers[name], graph.ledger.portable, scratch)
    assert [one.verdict for one in compare_files(graph, names, scratch)] == ["identical", "identical"]
    path = small.path("labels/pmemo/labels.safetensors")
    stored = arrays.load(path)
    arrays.save(path, {name: np.array(stored[name]) / 2 for name in stored}, stored.meta)
    small.forge("labels/pmemo/labels.safetensors", path.read_bytes())
    one, other = compare_files(small.graph(), names, scratch)
    assert (one.verdict, other.verdict) == ("identical", "different") and other.name.startswith(names[1])


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
    study = Small(small_checkout)
    done = study.command("verify", "--configfile", "tiny.yaml", "--json", "--predict")
    report = json.loads(done.stdout)
    assert (done.returncode, report["tier"]) == (0, "predict")
    assert {one["verdict"] for one in report["compared"]} == {"identical"}
    assert len(report["compared"]) == len(list(study.path("runs").glob("*/predictions.safetensors")))


def test_features_extracted_again_are_the_stored_ones(small_checkout: Path) -> None:
    words = ("--configfile", "tiny.yaml", "--cores", "1", "--json", "--reextract", CELL)
    done = Small(small_checkout).utopia("verify", *words)
    assert done.returncode == 0, done.stderr
    compared = json.loads(done.stdout)["compared"]
    assert {one["verdict"] for one in compared} == {"identical"}
    assert {one["name"] for one in compared} >= {"vggish of song_1", "vggish of song_2"}


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
    before = contents_of(outside)
    graph = Graph(Ledger.read(outside, base=small.folder), str(outside))
    for name in ("labels/pmemo/labels.safetensors", "tables/ulda_table_7.csv"):
        record = graph.makers[f"{outside}/{name}"]
        made = replaying.replay(record, graph.ledger.portable, tmp_path / "scratch")
        assert all(file.is_relative_to(tmp_path / "scratch") for file in made.values())
        assert files.sha256(made[f"{outside}/{name}"]) == files.sha256(outside / name)
    assert contents_of(outside) == before, "the study's own folder was written to"


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
