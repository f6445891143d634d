"""The tamper drill: every kind of damage is found, and the cells that it touches are named exactly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from studies import ROOT, Small, flip

from utopia import arrays, files

pytestmark = pytest.mark.workflow

TABLE = "ulda_table_7"
COLUMNS = ("valence.rmse", "valence.pcc", "arousal.rmse", "arousal.pcc")
ROWS = ("et.baseline", "et.ulda", "pgl_sum.baseline", "pgl_sum.ulda", "rmn.baseline", "rmn.ulda")
LABELS_ONLY, RUNS = "beyond_distribution_pmemo", "beyond_error_by_label_pmemo"
BOTH = (LABELS_ONLY, RUNS)
CSV = f"tables/{TABLE}.csv"
CELL = f"{TABLE}/et.ulda/valence.pcc"


def rows(*names: str) -> set[str]:
    return {f"{TABLE}/{row}/{column}" for row in names for column in COLUMNS}


ALL = rows(*ROWS)


class Damage(NamedTuple):
    """Something done to a study, what must be found, and what it touches."""

    name: str
    do: Callable[[Small], Any]
    kinds: set[str]
    cells: set[str]
    figures: tuple[str, ...] = ()


def first(study: Small, pattern: str) -> Path:
    return sorted(study.path("").glob(pattern))[0]


def replaced(path: str, old: str, new: str) -> Callable[[Small], Any]:
    def do(study: Small) -> None:
        text = study.path(path).read_text()
        assert old in text
        study.path(path).write_text(text.replace(old, new, 1))

    return do


def typed(study: Small, field: int, value: str) -> bytes:
    """The table with one value of `CELL` typed by hand."""
    lines = study.path(CSV).read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line.startswith(CELL.replace("/", ",")))
    parts = lines[at].split(",")
    assert parts[field] != value
    parts[field] = value
    return "".join([*lines[:at], ",".join(parts), *lines[at + 1 :]]).encode()


def _line(study: Small) -> int:
    return next(n for n, line in enumerate(study.path(CSV).read_text().splitlines()) if CELL in line)


def write(study: Small, path: str, content: bytes) -> None:
    study.path(path).write_bytes(content)


def edited(path: str, *, reseal: bool = True, **changes: Any) -> Callable[[Small], Any]:
    return lambda study: study.edit_record(path, lambda facts: facts.update(changes), reseal=reseal)


def swap_songs(study: Small) -> None:
    one, other = (study.path(f"inputs/raw/pmemo/chorus/{number}.mp3") for number in (1, 2))
    first_bytes, second_bytes = one.read_bytes(), other.read_bytes()
    one.write_bytes(second_bytes)
    other.write_bytes(first_bytes)


def forge_metrics(study: Small) -> None:
    path = "runs/pmemo.et.tns_cwl/metrics.csv"
    lines = study.path(path).read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if ",pcc," in line and line.startswith("valence,"))
    lines[at] = ",".join([*lines[at].split(",")[:-1], "0.75\n"])
    study.forge(path, "".join(lines).encode())


def forge_predictions(study: Small) -> None:
    path = study.path("runs/pmemo.rmn.cwl/predictions.safetensors")
    stored = arrays.load(path)
    changed = {name: np.array(stored[name]) + np.float32(0.01 * (n == 0)) for n, name in enumerate(stored)}
    arrays.save(path, changed, stored.meta)
    study.forge("runs/pmemo.rmn.cwl/predictions.safetensors", path.read_bytes())


def drop_replica_from_predictions(study: Small) -> None:
    path = study.path("runs/pmemo.rmn.cwl/predictions.safetensors")
    stored = arrays.load(path)
    kept = {name: np.array(stored[name]) for name in stored if name.split("/")[2] == "0"}
    arrays.save(path, kept, {**stored.meta, "seeds": [0]})
    study.forge("runs/pmemo.rmn.cwl/predictions.safetensors", path.read_bytes())


def drop_replica_from_summary(study: Small) -> None:
    path = study.path("runs/pmemo.rmn.cwl/training.json")
    facts = json.loads(path.read_text())
    facts["replicas"] = [each for each in facts["replicas"] if each["repeat"] == 0]
    files.write_json(path, facts)
    study.forge("runs/pmemo.rmn.cwl/training.json", path.read_bytes())


def forge_manifest(study: Small) -> None:
    path = study.path("inputs/pmemo.json")
    study.forge("inputs/pmemo.json", path.read_bytes().replace(b'"sha256": "0b', b'"sha256": "1b').replace(
        b'"sha256": "6a', b'"sha256": "7a'))  # fmt: skip


def forge_index(study: Small) -> None:
    path = study.path("features/pmemo/shard-0000.json")
    facts = json.loads(path.read_text())
    entry = next(each["vggish"] for each in facts["items"].values() if "file" in each["vggish"])
    entry["sha256"] = "0" * 64
    files.write_json(path, facts)
    study.forge("features/pmemo/shard-0000.json", path.read_bytes())


def other_checkpoint(study: Small) -> None:
    folder = "runs/pmemo.rmn.cwl/replicas"
    one, other = sorted(path.name for path in study.path(folder).glob("valence*.safetensors"))[:2]
    study.forge(f"{folder}/{one}", study.path(f"{folder}/{other}").read_bytes())


def move(study: Small) -> None:
    shutil.copy2(study.path(f"{CSV}.record.json"), study.path("tables/other.csv.record.json"))


def touched_song(study: Small) -> None:
    """Swapped under the same time and the same size."""
    flip(study.path("inputs/raw/pmemo/chorus/3.mp3"))


STORED = "features/store/*/*.safetensors"
DAMAGES = [
    # raw files
    Damage("a bit of a song", touched_song, {"changed"}, ALL, BOTH),
    Damage("two songs swapped", swap_songs, {"changed"}, ALL, BOTH),
    Damage("a song lost", lambda s: s.path("inputs/raw/pmemo/chorus/1.mp3").unlink(), {"missing"}, ALL, BOTH),
    Damage(
        "annotations edited",
        lambda s: flip(s.path("inputs/raw/pmemo/annotations/dynamic_annotations.csv")),
        {"changed"}, ALL, BOTH,
    ),
    Damage("a song cut", lambda s: write(s, "inputs/raw/pmemo/chorus/2.mp3", b"short"), {"changed"}, ALL, BOTH),
    Damage("a song more", lambda s: write(s, "inputs/raw/pmemo/chorus/99.mp3", b"new"), {"unrecorded"}, set()),
    # what is between
    Damage("manifest", lambda s: flip(s.path("inputs/pmemo.json")), {"changed"}, ALL, BOTH),
    Damage("manifest forged", forge_manifest, {"inconsistent"}, ALL, BOTH),
    Damage("labels", lambda s: flip(s.path("labels/pmemo/labels.safetensors")), {"changed"}, ALL, BOTH),
    Damage("labels lost", lambda s: s.path("labels/pmemo/labels.safetensors").unlink(), {"missing"}, ALL, BOTH),
    Damage(
        "distribution", lambda s: flip(first(s, "labels/pmemo/distribution*.safetensors")), {"changed"}, ALL, BOTH
    ),
    Damage("feature index", lambda s: flip(s.path("features/pmemo/shard-0000.json")), {"changed"}, ALL, (RUNS,)),
    Damage("feature index forged", forge_index, {"inconsistent"}, ALL, (RUNS,)),
    Damage("stored feature", lambda s: flip(first(s, STORED)), {"changed"}, ALL, (RUNS,)),
    Damage("stored feature lost", lambda s: first(s, STORED).unlink(), {"missing"}, ALL, (RUNS,)),
    Damage(
        "stored feature emptied", lambda s: first(s, STORED).write_bytes(b""), {"changed"}, ALL, (RUNS,)
    ),
    # runs
    Damage(
        "predictions", lambda s: flip(s.path("runs/pmemo.pgl_sum.tns_cwl/predictions.safetensors"), -1),
        {"changed"}, rows("pgl_sum.ulda"), (RUNS,),
    ),
    Damage(
        "predictions that a difference is taken to",
        lambda s: flip(s.path("runs/pmemo.et.baseline/predictions.safetensors"), -1),
        {"changed"}, rows("et.baseline", "et.ulda"),
    ),
    Damage("predictions forged", forge_predictions, {"not reproduced"}, rows("rmn.ulda")),
    Damage("a replica left out of predictions", drop_replica_from_predictions,
           {"fewer replicas", "not reproduced"}, rows("rmn.ulda", "rmn.baseline")),
    Damage("a replica left out of the summary", drop_replica_from_summary,
           {"fewer replicas"}, rows("rmn.ulda")),
    Damage("summary", lambda s: flip(s.path("runs/pmemo.rmn.cwl/training.json")), {"changed"}, rows("rmn.ulda")),
    Damage("checkpoint", lambda s: flip(first(s, "runs/pmemo.pgl_sum.baseline/replicas/*.safetensors")),
           {"changed"}, rows("pgl_sum.baseline", "pgl_sum.ulda"), (RUNS,)),
    Damage("checkpoint lost", lambda s: first(s, "runs/pmemo.rmn.cwl/replicas/*.safetensors").unlink(),
           {"missing"}, rows("rmn.ulda")),
    Damage("checkpoint of another replica, forged", other_checkpoint,
           {"inconsistent", "not reproduced"}, rows("rmn.ulda")),
    Damage("a metric", lambda s: flip(s.path("runs/pmemo.rmn.baseline/metrics.csv"), -3),
           {"changed"}, rows("rmn.baseline", "rmn.ulda")),
    Damage("a metric typed, records forged", forge_metrics, {"not reproduced"}, rows("et.ulda")),
    Damage("metrics lost", lambda s: s.path("runs/pmemo.rmn.cwl/metrics.csv").unlink(), {"missing"}, rows("rmn.ulda")),
    # tables and figures
    Damage("a value typed", lambda s: write(s, CSV, typed(s, 3, "0.9")), {"changed"}, {CELL}),
    Damage("a value typed, record forged", lambda s: s.forge(CSV, typed(s, 3, "0.9")), {"not reproduced"}, {CELL}),
    Damage("a spread typed", lambda s: write(s, CSV, typed(s, 4, "0.0")), {"changed"}, {CELL}),
    Damage("the number of repeats typed", lambda s: s.forge(CSV, typed(s, 5, "3")),
           {"fewer replicas", "not reproduced"}, {CELL}),
    Damage("a row removed",
           lambda s: write(s, CSV, b"".join(line for line in s.path(CSV).read_bytes().splitlines(keepends=True)
                                           if CELL.encode() not in line)), {"changed"}, {CELL}),
    Damage("a row twice",
           lambda s: write(s, CSV, s.path(CSV).read_bytes() + typed(s, 3, "0.8").splitlines(keepends=True)[_line(s)]),
           {"changed"}, {CELL}),
    Damage("the Markdown table", lambda s: flip(s.path(f"tables/{TABLE}.md")), {"changed"}, ALL),
    Damage("the LaTeX table lost", lambda s: s.path(f"tables/{TABLE}.tex").unlink(), {"missing"}, ALL),
    Damage("the HTML table forged",
           lambda s: s.forge(f"tables/{TABLE}.html", s.path(f"tables/{TABLE}.html").read_bytes() + b"\n"),
           {"not reproduced"}, ALL),
    Damage("plotted numbers", lambda s: flip(s.path(f"figures/{LABELS_ONLY}.csv"), -3), {"changed"}, set(),
           (LABELS_ONLY,)),
    Damage("plotted numbers forged",
           lambda s: s.forge(f"figures/{RUNS}.csv", s.path(f"figures/{RUNS}.csv").read_bytes() + b"x,y\n"),
           {"not reproduced"}, set(), (RUNS,)),
    Damage("a picture", lambda s: flip(s.path(f"figures/{RUNS}.png")), {"changed"}, set(), (RUNS,)),
    # records
    Damage("record edited", edited("runs/pmemo.rmn.baseline/metrics.csv", reseal=False, host="elsewhere"),
           {"record edited"}, rows("rmn.baseline", "rmn.ulda")),
    Damage("record without its digest", lambda s: s.edit_record(CSV, lambda facts: facts.pop("digest"), reseal=False),
           {"record edited"}, ALL),
    Damage("record cut", lambda s: write(s, f"{CSV}.record.json", b'{"schema": 1'),
           {"record damaged", "unrecorded"}, ALL),
    Damage("record lost", lambda s: s.path(f"{CSV}.record.json").unlink(), {"unrecorded"}, ALL),
    Damage("record of the labels lost", lambda s: s.path("labels/pmemo/labels.safetensors.record.json").unlink(),
           {"unrecorded"}, ALL, BOTH),
    Damage("record copied", move, {"record misplaced"}, ALL),
    Damage("record's seed changed",
           lambda s: s.edit_record("runs/pmemo.rmn.cwl/predictions.safetensors",
                                   lambda facts: facts["params"]["runs"][1].update(seed=1)),
           {"stale setting"}, rows("rmn.ulda")),
    Damage("record's code changed",
           lambda s: s.edit_record("labels/pmemo/labels.safetensors",
                                   lambda facts: facts["code"]["modules"].update({"utopia.labels.build": "0" * 64})),
           {"stale code"}, ALL, BOTH),
    Damage("record's lock changed",
           edited(f"figures/{LABELS_ONLY}.csv", lock={"path": "envs/requirements.txt", "sha256": "0" * 64}),
           {"stale lock"}, set(), (LABELS_ONLY,)),
    # strangers
    Damage("a table of unknown origin",
           lambda s: write(s, "tables/extra.csv", b"table,row,column,cell\nextra,a,b,extra/a/b\n"),
           {"unrecorded"}, {"extra/a/b"}),
    Damage("predictions of unknown origin",
           lambda s: files.write_text(s.path("runs/pmemo.et.magic/predictions.safetensors"), "x"),
           {"unrecorded"}, set()),
]  # fmt: skip


def test_an_untouched_study_is_sound(small: Small) -> None:
    report = small.verify()
    assert report.as_dict()["findings"] == []
    assert report.is_sound and report.notes == []
    assert report.checked["cells"] == len(ALL) and report.checked["records"] == 14
    # 24 replicas' predictions, 6 metrics files, 4 forms of a table, the numbers of 2 figures
    assert report.checked["recomputed"] >= 24 + 6 + 4 + 2


def test_the_drill_is_large_enough() -> None:
    assert len({damage.name for damage in DAMAGES}) == len(DAMAGES) >= 40


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name.replace(" ", "_"))
def test_damage_is_found_and_what_it_touches_is_named(small: Small, damage: Damage) -> None:
    damage.do(small)
    report = small.verify()
    told = json.dumps(report.as_dict(), indent=1)
    assert {one.finding.kind for one in report.findings} == damage.kinds, told
    assert set(report.cells) == damage.cells, told
    assert set(report.figures) == set(damage.figures), told


def test_what_people_read(small: Small) -> None:
    from utopia.cli.verify import in_words

    assert in_words(small.verify(recompute=False))[-1] == "sound: nothing contradicts the records"
    write(small, CSV, typed(small, 3, "0.9"))
    flip(small.path("labels/pmemo/labels.safetensors"))
    lines = in_words(small.verify(), most=1)
    assert lines[0].startswith("changed (2)") and any("and 1 more (--all shows them)" in line for line in lines)
    assert any(line.startswith("note: ") and "was not done again" in line for line in lines)
    assert lines[-1].startswith("NOT SOUND: 2 findings touch 24 cells") and BOTH[0] in lines[-1]


def test_the_seal_shows_that_records_were_replaced(small: Small) -> None:
    seal = small.verify(recompute=False).seal
    assert small.verify(recompute=False, expected_seal=seal).is_sound
    # Rewritten in a way that contradicts nothing.
    small.edit_record(CSV, lambda facts: facts.update(host="elsewhere"))
    assert small.verify().is_sound
    report = small.verify(recompute=False, expected_seal=seal)
    assert [one.finding.kind for one in report.findings] == ["seal"]
    assert set(report.cells) == ALL


def verdict(checkout: Path, *more: str) -> dict[str, Any]:
    done = Small(checkout).utopia("verify", "--configfile", "tiny.yaml", "--hash-only", "--json", *more)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["sound"] else 1)
    return report


@pytest.mark.parametrize(
    ("file", "old", "new", "kinds", "cells"),
    [
        ("workflow/lib/utopia/models/rmn.py", "\n", "\n# a remark\n", set(), set()),
        ("workflow/lib/utopia/models/rmn.py", "\nclass ", "\n_EXTRA = 1\n\n\nclass ", {"stale code"},
         rows("rmn.baseline", "rmn.ulda")),
        ("workflow/lib/utopia/labels/build.py", "\ndef ", "\n_EXTRA = 1\n\n\ndef ", {"stale code"}, ALL),
        ("workflow/scripts/render_table.py", "with record", "_EXTRA = 1\nwith record", {"stale code"}, ALL),
        ("tiny.yaml", "rmn: {training: {epochs: 2}}", "rmn: {training: {epochs: 3}}", {"stale setting"},
         rows("rmn.baseline", "rmn.ulda")),
        ("envs/requirements.txt", "\n", "\n# new\n", {"stale lock"}, ALL),
        ("workflow/resources/datasets/pmemo.yaml", "\n", "\n# new\n", {"changed"}, ALL),
    ],
    ids=["remark", "model", "labels", "script", "setting", "lock", "card"],
)  # fmt: skip
def test_what_has_changed_beside_the_results_is_found(
    small_checkout: Path, edited: Any, file: str, old: str, new: str, kinds: set[str], cells: set[str]
) -> None:
    edited(file, lambda text: text.replace(old, new, 1))
    report = verdict(small_checkout)
    assert {one["kind"] for one in report["findings"]} == kinds, report
    assert set(report["cells"]) == cells
    assert ROOT.endswith(report["study"])
