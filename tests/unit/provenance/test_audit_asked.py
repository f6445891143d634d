"""Every command about a finished study asks it for what its last run was asked for, however that was started."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from studies import ROOT, Small

from utopia import files
from utopia.cli import runlock

UNTOUCHED, FORGED = "ulda_table_7/et.baseline/valence.pcc", "ulda_table_7/rmn.ulda/valence.rmse"
TABLE = f"{ROOT}/tables/ulda_table_7.csv"
AUDIT: tuple[tuple[str, ...], ...] = (
    ("explain", "ulda_table_7"),
    ("explain", "pmemo.rmn.cwl"),
    ("why", TABLE),
    ("verify", "--hash-only"),
    ("touched", "--host", "nowhere"),
    ("adopt", "--dry-run"),
    ("crate", "--output", "c.zip"),
    ("status",),
    ("compare",),
)
"""The commands that hold what is stored against today's study, and end with 1 or a warning where these differ."""


def answer(study: Small, *words: str) -> dict[str, Any]:
    done = study.command(*words, "--json")
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def doubts(study: Small, *more: str, partial: tuple[str, ...] = ()) -> list[str]:
    """What the commands say against the study, by command."""
    found = []
    for words in AUDIT:
        parts = partial if words[0] in ("verify", "crate") else ()
        done = study.command(*words, *parts, *more)
        said = done.stdout + done.stderr
        at_fault = done.returncode != 0 and words[0] not in ("touched", "adopt", "compare")
        if at_fault or "other settings" in said or ("setting" in said and words[0] in ("why", "status")):
            found.append(f"{words[0]}: {said}")
    return found


@pytest.fixture
def part(whole: Small) -> Small:
    """A part of the small study, made by the command with other settings than config.yaml has; features were there."""
    for name in ("runs", "tables", "figures", "audit"):
        shutil.rmtree(whole.path(name))
    done = whole.utopia(
        "run", "--configfile", "tiny.yaml", "--tables", "ULDA Table 7", "--datasets", "pmemo", "--cores", "2"
    )
    assert done.returncode == 0, done.stderr
    return whole


def test_a_study_that_snakemake_itself_made_with_a_configuration_file(small: Small) -> None:
    shutil.rmtree(small.path("figures"))  # `crate` draws them again, which takes long
    assert doubts(small, partial=("--partial",)) == []
    (small.folder / "other.yaml").write_text(
        (small.folder / "tiny.yaml").read_text().replace("repeats: 2", "repeats: 3")
    )
    said = doubts(small, "--configfile", "other.yaml", partial=("--partial",))
    assert {text.split(":")[0] for text in said} == {"explain", "why", "verify", "crate"}, "what is given comes first"


def test_a_study_that_was_made_in_part(part: Small) -> None:
    """Without `--partial`: the part is whole. One run of it is then forged, and told from another one by training."""
    assert doubts(part) == []
    status = answer(part, "status")
    assert status["again"] == {"jobs": 0, "reasons": []}
    assert {table["table"] for table in answer(part, "compare")["tables"]} == {"ulda_table_7"}
    assert answer(part, "adopt", "--dry-run")["refused"] == {}
    other = answer(part, "status", "--tables", "ulda_table_4")["again"]["reasons"]
    assert any("ulda_table_4" in reason["job"] for reason in other), "a part that is named takes the place of that one"
    forge_metrics_of_rmn(part)
    before = contents(part.path(""))
    again = part.utopia("verify", "--retrain", UNTOUCHED, FORGED, "--cores", "2", "--json")
    assert contents(part.path("")) == before, "the study's own folder was written to"
    report = json.loads(again.stdout)
    assert (again.returncode, report["sound"], report["tier"]) == (1, False, "retrain")
    by_name = {one["name"]: one for one in report["compared"]}
    assert [one["name"] for one in report["compared"]][-2:] == [UNTOUCHED, FORGED]
    assert by_name[UNTOUCHED]["then"] == by_name[UNTOUCHED]["now"]
    assert by_name[FORGED]["then"] == pytest.approx(0.001) != by_name[FORGED]["now"]
    assert {name for name, one in by_name.items() if one["verdict"] != "identical"} == {FORGED}
    assert by_name.keys() > {
        f"{ROOT}/inputs/pmemo.json",
        f"{ROOT}/labels/pmemo/labels.safetensors",
        "predictions of pmemo.rmn.cwl from its checkpoints",
    }


def forge_metrics_of_rmn(study: Small) -> None:
    """The error of one run typed; every record agrees."""
    path = "runs/pmemo.rmn.cwl/metrics.csv"
    lines = study.path(path).read_text().splitlines(keepends=True)
    typed = [
        ",".join([*line.split(",")[:-1], "0.001\n"]) if ",,rmse_item," in line and line.startswith("valence") else line
        for line in lines
    ]
    assert typed != lines
    study.forge(path, "".join(typed).encode())


def contents(folder: Path) -> dict[str, str]:
    return {str(path): files.sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_single_values_of_snakemake_are_remembered(whole: Small) -> None:
    text = (whole.folder / "tiny.yaml").read_text(encoding="utf-8").replace("repeats: 2\n", "")
    (whole.folder / "rest.yaml").write_text(text, encoding="utf-8")
    asked = runlock.Asked.of({"study": "miniature", "repeats": 2, "figures": []}, [whole.folder / "rest.yaml"])
    runlock.remember(whole.folder / ROOT, asked)
    assert answer(whole, "explain", "ulda_table_7")["warnings"] == []
    assert whole.command("why", TABLE).stdout.endswith("nothing that it depends on has changed; it would stay\n")
    assert "--config repeats=2" in answer(whole, "status")["next"]


def test_what_is_no_longer_there_is_said(whole: Small, tmp_path: Path) -> None:
    shutil.copy(whole.folder / "tiny.yaml", tmp_path / "lost.yaml")
    asked = runlock.Asked({"data": str(tmp_path / "lost data")}, [str(tmp_path / "lost.yaml")])
    runlock.remember(whole.folder / ROOT, asked)
    (tmp_path / "lost.yaml").unlink()
    done = whole.command("explain", "ulda_table_7")
    assert done.returncode == 0
    for what in ("the configuration file", "its data folder"):
        assert f"{ROOT}: {what} {tmp_path}/lost" in done.stderr
    assert "other settings" in done.stdout
