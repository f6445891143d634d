"""A crate of a real finished study: its profile, its content, and what it must not say."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from crates import entities, validate, write
from rocrate.rocrate import ROCrate
from studies import ROOT, Small, flip

from utopia.errors import UtopiaError
from utopia.provenance.crate.build import Written
from utopia.provenance.crate.statement import Agent

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def written(small_checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """What is said of the crate that was written as a folder."""
    return write(small_checkout, small_checkout, tmp_path_factory.mktemp("crate") / "crate")


@pytest.fixture(scope="module")
def crate(written: Written) -> Path:
    """The crate as a folder; not to be changed."""
    return written.path


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def records(folder: Path) -> dict[str, Any]:
    return {
        path.relative_to(folder).as_posix(): json.loads(path.read_text())
        for path in sorted((folder / ROOT).rglob("*.record.json"))
    }


# -- the profile

ONLY = {("process-run-crate-0.5_5.1", "Snakefile")}
"""The one recommendation that cannot be met. `SHOULD 5.1` wants an absolute URI for every workflow; but the file of the
main workflow MUST be in the crate (workflow-ro-crate-1.0_4.1, which an absolute URI fails), and the URI of what is in a
crate is relative."""


def test_the_profile_finds_nothing_required_and_one_impossible_recommendation(crate: Path, tmp_path: Path) -> None:
    report = validate(crate, tmp_path)
    found = {
        (one["check"]["identifier"], str(one["violatingPropertyValue"]).rpartition("/")[2]) for one in report["issues"]
    }
    assert found == ONLY
    assert {one["severity"] for one in report["issues"]} == {"RECOMMENDED"}
    counts = report["statistics"]
    assert counts["total_failed_checks"] == 1
    assert counts["total_skipped_checks"] == 0
    assert counts["total_checks_by_severity"]["REQUIRED"] >= 85
    assert {"provenance-run-crate-0.5", "workflow-run-crate-0.5", "ro-crate-1.1"} <= set(counts["profiles"])


def test_a_crate_with_people_and_predictions_passes_as_well(small_checkout: Path, tmp_path: Path) -> None:
    agent = Agent("Ada L", "https://orcid.org/0000-0002-1825-0097", "A laboratory", "https://lab.example")
    write(small_checkout, small_checkout, tmp_path / "c", agent=agent, include=["predictions", "checkpoints"])
    report = validate(tmp_path / "c", tmp_path)
    assert {one["check"]["identifier"] for one in report["issues"]} == {"process-run-crate-0.5_5.1"}
    assert entities(tmp_path / "c")["#run"]["agent"] == {"@id": agent.orcid}


def test_the_validator_would_find_a_crate_that_breaks_the_profile(crate: Path, tmp_path: Path) -> None:
    shutil.copytree(crate, tmp_path / "c")
    path = tmp_path / "c" / "ro-crate-metadata.json"
    value = json.loads(path.read_text())
    value["@graph"] = [each for each in value["@graph"] if each["@type"] != "OrganizeAction"]
    for each in value["@graph"]:
        if each["@type"] == "ControlAction":
            del each["instrument"]
    path.write_text(json.dumps(value))
    report = validate(tmp_path / "c", tmp_path)
    assert "REQUIRED" in {one["severity"] for one in report["issues"]}


def test_the_library_reads_it_back(crate: Path) -> None:
    read = ROCrate(crate)
    assert read.mainEntity.id == "Snakefile"
    assert len(read.get_by_type("CreateAction")) == len(records(crate)) + 1


# -- the content


def test_what_goes_in(crate: Path, small_checkout: Path) -> None:
    inside = names(crate)
    made = names(small_checkout / ROOT)
    for pattern in (r"tables/.*", r"figures/.*", r"runs/[^/]+/(metrics\.csv|training\.json)", r".*\.record\.json"):
        wanted = {f"{ROOT}/{name}" for name in made if re.fullmatch(pattern, name)}
        assert wanted and wanted <= inside
    assert {"Snakefile", "config.yaml", "LICENSE", "envs/requirements.txt", "workflow/rules/training.smk"} <= inside
    assert not [
        name
        for name in inside
        if re.search(r"\.(safetensors|mp3|mp4|log|pyc)$|/inputs/raw/(?!.*\.record\.json)|__pycache__|\.snakemake", name)
    ]


def test_every_file_is_described_by_its_hash(crate: Path) -> None:
    found = entities(crate)
    for name in names(crate) - {"ro-crate-metadata.json"}:
        content = (crate / name).read_bytes()
        entity = found[name.replace("@", "%40").replace("=", "%3D").replace(",", "%2C")]
        assert entity["sha256"] == hashlib.sha256(content).hexdigest()
        assert entity["contentSize"] == str(len(content))


def test_what_is_asked_for_is_added(small_checkout: Path, tmp_path: Path) -> None:
    write(small_checkout, small_checkout, tmp_path / "c", include=["predictions", "labels"])
    inside = {name for name in names(tmp_path / "c") if name.endswith(".safetensors")}
    there = {f"{ROOT}/{name}" for name in names(small_checkout / ROOT)}
    assert inside == {name for name in there if name.endswith(("predictions.safetensors",)) or "/labels/" in name} - {
        name for name in there if name.endswith(".json")
    }


def test_raw_data_and_features_are_named_by_hash_licence_and_source(crate: Path, small_checkout: Path) -> None:
    found = entities(crate)
    song = next((small_checkout / ROOT / "inputs" / "raw" / "pmemo").rglob("*.mp3"))
    entity = found[f"#file/{song.relative_to(small_checkout).as_posix()}"]
    assert entity["sha256"] == hashlib.sha256(song.read_bytes()).hexdigest()
    assert entity["contentSize"] == str(song.stat().st_size)
    assert found[entity["license"]["@id"]]["name"] == "that of this project"
    assert "seed" in entity["url"]
    assert any(each.startswith(f"#file/{ROOT}/features/store/") for each in found)


def test_actions_say_what_the_records_say(crate: Path) -> None:
    found = entities(crate)

    def paths(value: Any) -> set[str]:
        listed = value if isinstance(value, list) else [value] if value else []
        opened = [
            part["@id"]
            for each in listed
            for part in (found[each["@id"]]["hasPart"] if each["@id"].startswith("#files/") else [each])
        ]
        return {found[each]["name"] for each in opened}

    def files_in(listed: list[dict[str, Any]]) -> set[str]:
        return {one["path"] for each in listed for one in each.get("files", [each])}

    read = records(crate)
    assert len(read) >= 10
    for name, facts in read.items():
        action = found[found[name.replace("@", "%40").replace("=", "%3D").replace(",", "%2C")]["about"]["@id"]]
        assert paths(action.get("object")) == files_in(facts["inputs"])
        assert paths(action["result"]) == files_in(facts["outputs"])
        assert action["endTime"] == facts["ended"].replace("Z", "+00:00")
        script = (crate / facts["code"]["files"][0]).read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(script) + script).hexdigest()
        assert action["instrument"]["@id"].endswith(blob)
        control = next(
            each
            for each in found.values()
            if each["@type"] == "ControlAction" and each["object"] == {"@id": action["@id"]}
        )
        assert found[control["instrument"]["@id"]]["name"] == facts["rule"]
    run = found["#run"]
    assert run["startTime"] == min(facts["started"] for facts in read.values()).replace("Z", "+00:00")


# -- the same study, the same bytes


def test_the_bytes_depend_on_the_study_alone(
    small_checkout: Path, written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = write(small_checkout, small_checkout, tmp_path / "one.zip")
    moved = tmp_path / "elsewhere" / "deeper"
    shutil.copytree(small_checkout / "results", moved / "results")
    for path in moved.rglob("*"):
        os.utime(path, (1, 1))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    time.tzset()
    other = write(moved, small_checkout, tmp_path / "other.zip")
    monkeypatch.undo()
    time.tzset()
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    assert one.digest == other.digest == written.digest
    with zipfile.ZipFile(tmp_path / "one.zip") as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {
            name: (written.path / name).read_bytes() for name in names(written.path)
        }


# -- what must not be published


def test_nothing_names_this_machine(crate: Path, small_checkout: Path) -> None:
    for name in names(crate):
        content = (crate / name).read_bytes()
        assert str(small_checkout).encode() not in content
        assert not re.search(rb"(?<![\w.~-])" + re.escape(str(Path.home()).encode()) + rb"/", content), name


def test_a_configuration_that_names_a_folder_of_this_machine_is_refused(
    small: Small, small_checkout: Path, tmp_path: Path
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"data: {small.folder}/private\n")
    with pytest.raises(UtopiaError, match=r"configuration/1-mine\.yaml"):
        write(small.folder, small_checkout, tmp_path / "c", configfiles=[config])
    assert not (tmp_path / "c").exists()
    write(small.folder, small_checkout, tmp_path / "c", configfiles=[config], anonymous=True)
    assert (tmp_path / "c" / "configuration" / "1-mine.yaml").read_text() == "data: <hidden>/private\n"


def test_a_record_with_paths_of_another_machine_is_refused_unless_anonymous(
    small: Small, small_checkout: Path, tmp_path: Path
) -> None:
    def change(facts: dict[str, Any]) -> None:
        facts["notes"]["weights"] = "/scratch/evelyn/w.pth"
        facts["host"] = "evelyns-own"
        facts["environment"]["variables"]["SLURM_JOB_NODELIST"] = "evelyns-own"

    small.edit_record("tables/ulda_table_7.csv", change)
    with pytest.raises(UtopiaError, match="/scratch/evelyn"):
        write(small.folder, small_checkout, tmp_path / "c.zip")
    assert write(small.folder, small_checkout, tmp_path / "c", anonymous=True).files > 100
    assert not [
        name for name in names(tmp_path / "c") if b"evelyn" in (tmp_path / "c" / name).read_bytes() and ROOT in name
    ]


def test_a_link_out_of_the_study_is_refused(small: Small, small_checkout: Path, tmp_path: Path) -> None:
    path = small.path("tables/ulda_table_7.md")
    shutil.move(path, tmp_path / "outside.md")
    path.symlink_to(tmp_path / "outside.md")
    with pytest.raises(UtopiaError, match="leads out of the study"):
        write(small.folder, small_checkout, tmp_path / "c.zip")


# -- studies that are not fit, and places that are taken


def test_an_unfinished_study_has_no_crate(small: Small, small_checkout: Path, tmp_path: Path) -> None:
    for kind in ("tables", "figures"):
        shutil.rmtree(small.path(kind))
    with pytest.raises(UtopiaError, match="no table and no figure yet"):
        write(small.folder, small_checkout, tmp_path / "c.zip")


def test_changed_results_are_not_published(small: Small, small_checkout: Path, tmp_path: Path) -> None:
    write(small.folder, small_checkout, tmp_path / "c.zip")
    before = (tmp_path / "c.zip").read_bytes()
    names = ["tables/ulda_table_7.csv", "figures/beyond_error_by_label_pmemo.png"]
    for name in names:
        flip(small.path(name))
    with pytest.raises(UtopiaError, match=r"contradicts its records in \d+ places") as refused:
        write(small.folder, small_checkout, tmp_path / "c.zip")
    assert all(f"{ROOT}/{name}: " in str(refused.value) for name in names)
    assert (tmp_path / "c.zip").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.zip", "study"]


def test_a_missing_result_and_a_damaged_record_are_said(small: Small, small_checkout: Path, tmp_path: Path) -> None:
    small.path("tables/ulda_table_7.md").unlink()
    with pytest.raises(UtopiaError, match="cannot be read"):
        write(small.folder, small_checkout, tmp_path / "c.zip")
    small.record_of("tables/ulda_table_7.csv").write_text("{")
    with pytest.raises(UtopiaError, match="a record cannot be read"):
        write(small.folder, small_checkout, tmp_path / "c.zip")


def test_code_that_has_changed_since_is_not_published(
    small: Small, small_checkout: Path, edited: Any, tmp_path: Path
) -> None:
    edited("workflow/scripts/render_table.py", lambda text: f"{text}\nLATER = 1\n")
    with pytest.raises(UtopiaError, match=r"it ran another workflow/scripts/render_table\.py"):
        write(small.folder, small_checkout, tmp_path / "c.zip")
    edited("workflow/scripts/render_table.py", lambda text: text.replace("\nLATER = 1\n", "\n# a comment\n"))
    write(small.folder, small_checkout, tmp_path / "c.zip")


def test_only_a_crate_is_replaced(small: Small, small_checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UtopiaError, match="something else"):
        write(small.folder, small_checkout, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    with pytest.raises(UtopiaError, match="among the results"):
        write(small.folder, small_checkout, small.path("tables/crate"))
    write(small.folder, small_checkout, tmp_path / "c")
    write(small.folder, small_checkout, tmp_path / "c", include=["labels"])
    assert any("/labels/" in name for name in names(tmp_path / "c"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "mine", "study"]
