"""The check of a crate: an untouched one is sound anywhere, and every kind of damage is found."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crates import METADATA, add_a_person, agree, edit_metadata, edit_record, write
from lent import Lent
from studies import ROOT, Small, flip

from utopia.errors import InputError, UtopiaError
from utopia.provenance.crate.check import check

pytestmark = pytest.mark.workflow

TABLE = f"{ROOT}/tables/ulda_table_7.csv"
METRICS = f"{ROOT}/runs/pmemo.et.baseline/metrics.csv"
SONGS = f"{ROOT}/inputs/raw/pmemo.record.json"


@pytest.fixture(scope="module")
def made(small_checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("crate") / "crate"
    write(small_checkout, small_checkout, target, include=["predictions", "labels"])
    return target


@pytest.fixture(scope="module")
def lent_crate(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Lent:
    """The copy of it that `crate` lends."""
    return Lent(made, tmp_path_factory.mktemp("lent") / "crate")


@pytest.fixture
def crate(lent_crate: Lent, tmp_path: Path) -> Iterator[Path]:
    """A crate to be damaged."""
    yield lent_crate.lend(tmp_path / "crate")
    lent_crate.take_back(tmp_path / "crate")


def kinds(crate: Path, **options: Any) -> set[str]:
    return {fault.kind for fault in check(crate, **{"recompute": False, **options}).findings}


def leave_figures_out(crate: Path) -> None:
    """So that they are not drawn: two seconds of each check that computes again."""
    for path in (crate / ROOT / "figures").iterdir():
        if path.suffix != ".json":
            path.unlink()


# -- what is sound


def test_an_untouched_crate_is_sound_and_computed_again(made: Path) -> None:
    found = check(made)
    assert found.findings == []
    # A table in four forms, the metrics of six runs, and the numbers of two figures.
    assert found.checked["recomputed"] >= 4 + 6 + 2
    assert found.checked["records"] == len(list(made.rglob("*.record.json")))
    assert found.checked["cells"] > 0
    said = " ".join(found.notes)
    assert "checkpoints are not in the crate" in said and "rocrate-validator" in said and "--digest" in said
    assert not check(made, seal=found.seal, recompute=False).findings
    assert kinds(made, seal="0" * 64) == {"seal"}


def test_it_is_checked_where_there_is_neither_data_nor_torch(small_checkout: Path, made: Path, tmp_path: Path) -> None:
    """The program, the crate and nothing else: no results, no data, no network, torch cannot be imported."""
    archive = Path(shutil.make_archive(str(tmp_path / "c"), "zip", made))
    (tmp_path / "program" / "workflow").mkdir(parents=True)
    for name in ("workflow/lib", "workflow/scripts", "workflow/resources"):
        shutil.copytree(small_checkout / name, tmp_path / "program" / name)
    blocked = ("torch", "rocrate", "rocrate_validator", "requests")
    code = (
        f"import sys; sys.modules |= dict.fromkeys({blocked}); "  # none of these can be imported
        "from utopia.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    environment = {
        "PYTHONPATH": str(tmp_path / "program" / "workflow" / "lib"),
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", code, "crate", "--check", archive.name, "--json"]

    def run(*more: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    code, found = run()
    assert (code, found["sound"], found["faults"]) == (0, True, [])
    assert found["checked"]["recomputed"] >= 12
    with zipfile.ZipFile(archive) as packed, zipfile.ZipFile(tmp_path / "damaged.zip", "w") as damaged:
        for name in packed.namelist():
            damaged.writestr(name, packed.read(name) + b"\n" * (name == METRICS))
    (tmp_path / "damaged.zip").replace(archive)
    code, found = run("--hash-only")
    assert (code, found["sound"]) == (1, False)
    assert {fault["where"] for fault in found["faults"]} >= {METRICS}


def test_a_program_of_other_code_says_what_it_did_not_compute(
    made: Path, edited: Any, small_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utopia.provenance.recompute.code_change", lambda record: "utopia.tables.render")
    found = check(made)
    assert found.findings == []
    assert any("this program's code is not the crate's" in text for text in found.notes)


# -- what is not


def test_flipped_bits_are_found(crate: Path) -> None:
    names = {
        TABLE,
        METRICS,
        f"{ROOT}/figures/beyond_error_by_label_pmemo.pdf",
        f"{ROOT}/runs/pmemo.et.baseline/training.json",
        f"{ROOT}/labels/pmemo/labels.safetensors",
        "workflow/rules/training.smk",
        "envs/requirements.txt",
        "config.yaml",
        "README.md",
        "LICENSE",
    }
    for name in names:
        flip(crate / name)
    assert {fault.where for fault in check(crate, recompute=False).findings if fault.kind == "changed"} == names


def test_files_that_were_taken_out_are_found(crate: Path) -> None:
    names = {TABLE, METRICS, f"{TABLE}.record.json", "LICENSE"}
    for name in names:
        (crate / name).unlink()
    assert {fault.where for fault in check(crate, recompute=False).findings if fault.kind == "missing"} == names


def test_a_file_that_was_put_in_is_found(crate: Path) -> None:
    (crate / ROOT / "tables" / "extra.csv").write_text("cell\n")
    assert kinds(crate) == {"undescribed"}


def test_a_result_cannot_be_turned_into_a_reference(crate: Path) -> None:
    (crate / METRICS).unlink()

    def change(found: dict[str, Any]) -> None:
        entity = next(found.pop(name) for name in list(found) if found[name].get("name") == METRICS)
        found[f"#file/{METRICS}"] = entity | {"@id": f"#file/{METRICS}"}

    edit_metadata(crate, change)
    assert "missing" in kinds(crate)


def test_an_edited_record_is_found(crate: Path) -> None:
    path = crate / f"{TABLE}.record.json"
    path.write_text(path.read_text().replace('"rule": "render_table"', '"rule": "render_tables"'))
    assert "record" in kinds(crate)
    agree(crate, f"{TABLE}.record.json")
    assert "record" in kinds(crate)


def test_a_record_that_was_edited_and_sealed_again_contradicts_its_action(crate: Path) -> None:
    other = "2020-01-01T00:00:00.000Z"
    edit_record(crate, f"{TABLE}.record.json", lambda facts: facts.update(started=other, ended=other))
    agree(crate, f"{TABLE}.record.json")
    assert kinds(crate) == {"action"}


WRONG: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    (f"#job/{TABLE}", "endTime", lambda one: one.update(endTime="2020-01-01T00:00:00.000+00:00")),
    (f"#job/{TABLE}", "object", lambda one: one["object"].pop()),
    (f"#job/{TABLE}", "result", lambda one: one["result"].append({"@id": "LICENSE"})),
    (
        f"#job/{TABLE}",
        "instrument",
        lambda one: one.update(instrument={"@id": "https://identifiers.org/swh:1:cnt:0"}),
    ),
    (f"#control/{TABLE}", "instrument", lambda one: one.update(instrument={"@id": "#step/build_labels"})),
    ("#step/render_table", "workExample", lambda one: one.update(workExample={"@id": "Snakefile"})),
    ("#engine-run", "object", lambda one: one["object"].pop()),
    ("#run", "startTime", lambda one: one.update(startTime="2020-01-01T00:00:00.000+00:00")),
    ("#run", "result", lambda one: one["result"].pop(0)),
)
"""An action, its property, and what makes that say something else."""


def test_every_action_that_says_otherwise_is_found(crate: Path) -> None:
    edit_metadata(crate, lambda found: [change(found[identifier]) for identifier, _, change in WRONG])
    said = [(fault.kind, fault.where, fault.what.split()[:2]) for fault in check(crate, recompute=False).findings]
    assert sorted(said) == sorted(("action", identifier, ["its", name]) for identifier, name, _ in WRONG)


def test_actions_too_many_and_too_few_are_found(crate: Path) -> None:
    edit_metadata(crate, lambda found: found.update({"#job/x": {"@id": "#job/x", "@type": "CreateAction"}}))
    assert kinds(crate) == {"action"}
    edit_metadata(crate, lambda found: (found.pop("#job/x"), found.pop(f"#job/{TABLE}")))
    assert kinds(crate) == {"action"}


def test_a_changed_hash_of_a_file_that_is_not_there_is_found(crate: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        song = next(each for name, each in found.items() if name.startswith("#file/") and name.endswith(".mp3"))
        song["sha256"] = "0" * 64

    edit_metadata(crate, change)
    assert kinds(crate) == {"changed"}


def test_two_records_that_contradict_each_other_are_found(crate: Path) -> None:
    def change(facts: dict[str, Any]) -> None:
        facts["outputs"][0]["files"][0]["sha256"] = "0" * 64

    edit_record(crate, SONGS, change)
    agree(crate, SONGS)
    assert "lineage" in kinds(crate)


def test_code_that_did_not_run_is_found(crate: Path) -> None:
    for name in ("workflow/lib/utopia/evaluation/metrics.py", "workflow/scripts/render_table.py"):
        path = crate / name
        path.write_text(f"{path.read_text()}\nEXTRA = 1\n")
        agree(crate, name)
    found = check(crate, recompute=False)
    assert "code" in {fault.kind for fault in found.findings}
    assert "utopia.evaluation.metrics" in " ".join(fault.what for fault in found.findings)


def test_a_value_typed_by_hand_with_everything_made_to_agree_is_found(crate: Path) -> None:
    """A table's value, its record, the metadata and the seal are all rewritten; only computing it again tells."""
    lines = (crate / TABLE).read_text().splitlines()
    columns, cells = lines[0].split(","), lines[1].split(",")
    cells[columns.index("value")] = "0.123456"
    content = ("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n").encode()
    (crate / TABLE).write_bytes(content)

    def change(facts: dict[str, Any]) -> None:
        entry = next(each for each in facts["outputs"] if each["path"] == TABLE)
        entry |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}

    edit_record(crate, f"{TABLE}.record.json", change)
    agree(crate, TABLE, f"{TABLE}.record.json")
    assert kinds(crate) == set()
    leave_figures_out(crate)
    found = check(crate)
    assert [fault.where for fault in found.findings if fault.kind == "not reproduced"] == [TABLE]


def rename(found: dict[str, Any]) -> None:
    """The study, wherever the metadata name it."""
    found["./"]["name"] = found["./"]["name"].replace("Study miniature", "Study of others")


@pytest.mark.parametrize(
    ("change", "also"),
    [(rename, set()), (add_a_person, {"action"}), (lambda found: found["./"].update(description="B"), {"metadata"})],
)
def test_what_the_metadata_say_is_sealed(crate: Path, change: Callable[[dict[str, Any]], Any], also: set[str]) -> None:
    digest = check(crate, recompute=False).digest
    assert kinds(crate, digest=digest) == set()
    edit_metadata(crate, change, reseal=False)
    assert kinds(crate) == {"seal"} | also
    edit_metadata(crate, lambda found: None)
    assert kinds(crate) == also, "who knows of the seal makes a new one"
    assert kinds(crate, digest=digest) == {"digest"} | also


TOLD = ("url", "license", "@id", "@type", "version")
"""What is said of files that are not there, and of the program: nothing in a crate tells whether it is true."""


def test_every_property_of_the_metadata_is_written_again_and_compared(crate: Path) -> None:
    """One entity of each type, and every property of it, says something else, and all of them are found."""
    edited: list[str] = []

    def other(value: Any) -> Any:
        if isinstance(value, list):
            return [other(value[0]), *value[1:]]
        return {"@id": "#another"} if isinstance(value, dict) else f"{value} or not"

    def change(found: dict[str, Any]) -> None:
        of_type = {
            (str(entity["@type"]), name.split("/")[0] if name.startswith("#") else ""): name
            for name, entity in sorted(found.items(), reverse=True)
        }
        assert len(of_type) > 20
        for name in of_type.values():
            for key in sorted(found[name].keys() - {*TOLD, "propertyID"} - ({"name"} if "licence" in name else set())):
                if name not in ("#verdict", "#metadata-seal") and not (name.startswith("#data/") and key == "hasPart"):
                    found[name][key] = other(found[name][key])
                    edited.append(f"its {key} ")

    edit_metadata(crate, change)
    said = [fault.what for fault in check(crate, recompute=False).findings]
    assert len(edited) > 60
    for text in set(edited):
        assert sum(what.startswith(text) for what in said) >= edited.count(text), text


def test_what_another_version_wrote_is_compared_where_the_profile_prescribes_it(crate: Path) -> None:
    describe = "workflow/lib/utopia/provenance/crate/describe.py"
    (crate / describe).write_text("# an older one\n")
    agree(crate, describe)
    edit_metadata(crate, lambda found: found["./"].update(description="as it was put then"))
    found = check(crate, recompute=False)
    assert found.findings == []
    assert any("another version of this program" in text for text in found.notes)
    edit_metadata(crate, lambda found: found[f"#job/{TABLE}"]["result"].pop())
    assert kinds(crate) == {"action"}


@pytest.mark.parametrize("name", ["config.yaml", "workflow/resources/tables/ulda_table_7.yaml"])
def test_configuration_and_published_values_are_held_by_the_digest(crate: Path, name: str) -> None:
    digest = check(crate, recompute=False).digest
    (crate / name).write_text(f"{(crate / name).read_text()}\n# changed\n")
    agree(crate, name)
    assert kinds(crate) == set()
    assert kinds(crate, digest=digest) == {"digest"}


# -- crates that mean harm


@pytest.mark.parametrize("path", ["/etc/hostname", "../../../../etc/hostname"])
def test_a_record_cannot_make_the_check_read_or_write_elsewhere(crate: Path, tmp_path: Path, path: str) -> None:
    victim = tmp_path / "victim.csv"

    def change(facts: dict[str, Any]) -> None:
        facts["roles"]["outputs"]["csv"] = str(victim)
        facts["roles"]["inputs"]["metrics"][0] = path

    edit_record(crate, f"{TABLE}.record.json", change)
    agree(crate, f"{TABLE}.record.json")
    found = check(crate)
    assert "record" in {fault.kind for fault in found.findings}
    assert any(text.startswith("nothing was computed again") for text in found.notes)
    assert not victim.exists()


def test_a_record_that_describes_a_place_elsewhere_is_not_followed(crate: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.csv"

    def change(facts: dict[str, Any]) -> None:
        facts["roles"]["outputs"]["csv"] = facts["outputs"][0]["path"] = str(victim)

    edit_record(crate, f"{TABLE}.record.json", change)
    found = check(crate)
    assert found.findings and not victim.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"@graph": 1}', '{"@graph": [{"@id": 1}]}', "[" * 100_000])
def test_metadata_of_another_form_is_an_error_for_people(crate: Path, text: str) -> None:
    (crate / METADATA).write_text(text)
    with pytest.raises(UtopiaError):
        check(crate)


@pytest.mark.parametrize("facts", ["[]", "{}", '{"schema": 1}'])
def test_a_record_of_another_form_is_a_fault(crate: Path, facts: str) -> None:
    (crate / f"{TABLE}.record.json").write_text(facts)
    leave_figures_out(crate)
    assert "record" in kinds(crate, recompute=True)


def test_a_record_with_values_of_other_types_is_a_fault(crate: Path) -> None:
    edit_record(crate, f"{TABLE}.record.json", lambda facts: facts.update(params=7, roles=[1], lock=3))
    leave_figures_out(crate)
    assert "record" in kinds(crate, recompute=True)


def test_a_link_is_refused(crate: Path) -> None:
    (crate / "link").symlink_to("/etc")
    with pytest.raises(InputError, match="refused"):
        check(crate)


# -- the command


def test_the_command_writes_and_checks(small_checkout: Path, tmp_path: Path) -> None:
    small = Small(small_checkout)
    done = small.command(
        "crate", "--partial", "--configfile", "tiny.yaml", "--output", str(tmp_path / "c.zip"), "--json"
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)
    known = ("--seal", written["seal"], "--digest", written["digest"])
    done = small.command("crate", "--check", str(tmp_path / "c.zip"), *known)
    assert done.returncode == 0, done.stdout
    assert "sound: everything in the crate agrees" in done.stdout
    assert f"digest {written['digest']}" in done.stdout
    done = small.command("crate", "--check", str(tmp_path / "c.zip"), "--seal", "0" * 64, "--hash-only")
    assert done.returncode == 1
    assert "NOT SOUND" in done.stdout
    assert small.command("crate", "--orcid", "https://orcid.org/0").returncode == 2


def test_a_study_that_is_not_sound_is_refused_or_marked(small: Small, tmp_path: Path) -> None:
    shutil.rmtree(small.path("figures"))  # they take long to be drawn again
    flip(small.path("runs/pmemo.et.cwl/replicas/valence.test.0.safetensors"))
    words = ("crate", "--partial", "--configfile", "tiny.yaml", "--output", str(tmp_path / "c"))
    done = small.command(*words)
    assert done.returncode == 1 and "the study is not sound" in done.stderr and not (tmp_path / "c").exists()
    assert small.command(*words, "--unsound").returncode == 0
    assert "changed: " in (tmp_path / "c" / "README.md").read_text()
    assert "unsound" in kinds(tmp_path / "c")
