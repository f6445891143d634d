"""The tamper drill: every kind of damage is found, and the cells that it touches are named exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from forgeries import (
    CELL,
    CSV,
    LABELS_ONLY,
    RUNS,
    TABLE,
    delete_with_records,
    drop_replica_from_predictions,
    drop_replica_from_summary,
    edited,
    first,
    forge_checkpoint,
    forge_distribution,
    forge_index,
    forge_labels,
    forge_manifest,
    forge_metrics,
    forge_metrics_of_nobody,
    forge_predictions,
    forge_summary,
    link_elsewhere,
    move,
    other_checkpoint,
    repaint,
    resealed,
    swap_feature,
    swap_songs,
    table_in_a_linked_folder,
    touched_song,
    twice,
    typed,
    write,
)
from studies import ROOT, Small, flip

from utopia import files
from utopia.provenance import environment

pytestmark = pytest.mark.workflow

COLUMNS = ("valence.rmse", "valence.pcc", "arousal.rmse", "arousal.pcc")
ROWS = {
    "et.baseline": ("et.baseline",), "et.cwl": ("et.cwl", "et.baseline"), "et.ulda": ("et.tns_cwl", "et.baseline"),
    "pgl_sum.baseline": ("pgl_sum.baseline",), "pgl_sum.cwl": ("pgl_sum.cwl", "pgl_sum.baseline"),
    "pgl_sum.ulda": ("pgl_sum.tns_cwl", "pgl_sum.baseline"), "rmn.baseline": ("rmn.baseline",),
    "rmn.ulda": ("rmn.cwl", "rmn.baseline"), "rmn_ulda_ours": ("rmn.cwl", "rmn.baseline"),
}  # fmt: skip
"""The runs behind each row of the table: its own, and the one that its differences are taken to."""
QUOTED = ("zhang_et_al", "rmn_original")
BOTH = (LABELS_ONLY, RUNS)


def rows(*names: str) -> set[str]:
    return {f"{TABLE}/{row}/{column}" for row in names for column in COLUMNS}


def of(*runs: str) -> set[str]:
    """The cells computed from some runs."""
    return rows(*(row for row, behind in ROWS.items() if set(behind) & set(runs)))


ALL, WHOLE = rows(*ROWS), rows(*ROWS, *QUOTED)


class Damage(NamedTuple):
    """Something done to a study, what must be found, and what it touches."""

    name: str
    do: Callable[[Small], Any]
    kinds: set[str]
    cells: set[str]
    figures: tuple[str, ...] = ()


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
    Damage("manifest forged", forge_manifest, {"inconsistent", "not reproduced"}, ALL, BOTH),
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
    Damage("labels drawn to predictions, and everything after them made again", forge_labels,
           {"not reproduced"}, ALL, BOTH),
    Damage("weights of a label distribution forged", forge_distribution, {"not reproduced"}, ALL, BOTH),
    Damage("features of another song, forged", swap_feature, {"inconsistent"}, ALL, (RUNS,)),
    # runs
    Damage("the selected epoch typed, forged",
           forge_summary(lambda one: one.update(selected_epoch=1 - one["selected_epoch"])),
           {"inconsistent"}, of("rmn.cwl")),
    Damage("the seed of a replica typed, forged", forge_summary(lambda one: one.update(seed=1)),
           {"inconsistent"}, of("rmn.cwl")),
    Damage("the seed of a checkpoint forged", forge_checkpoint, {"inconsistent"}, of("rmn.cwl")),
    Damage(
        "predictions", lambda s: flip(s.path("runs/pmemo.pgl_sum.tns_cwl/predictions.safetensors"), -1),
        {"changed"}, of("pgl_sum.tns_cwl"), (RUNS,),
    ),
    Damage(
        "predictions that a difference is taken to",
        lambda s: flip(s.path("runs/pmemo.et.baseline/predictions.safetensors"), -1),
        {"changed"}, of("et.baseline"),
    ),
    Damage("predictions forged", forge_predictions, {"not reproduced"}, of("rmn.cwl")),
    Damage("a replica left out of predictions", drop_replica_from_predictions,
           {"fewer replicas", "inconsistent", "not reproduced"}, of("rmn.cwl", "rmn.baseline")),
    Damage("a replica left out of the summary", drop_replica_from_summary,
           {"fewer replicas", "inconsistent"}, of("rmn.cwl")),
    Damage("summary", lambda s: flip(s.path("runs/pmemo.rmn.cwl/training.json")), {"changed"}, of("rmn.cwl")),
    Damage("checkpoint", lambda s: flip(first(s, "runs/pmemo.pgl_sum.baseline/replicas/*.safetensors")),
           {"changed"}, of("pgl_sum.baseline"), (RUNS,)),
    Damage("checkpoint lost", lambda s: first(s, "runs/pmemo.rmn.cwl/replicas/*.safetensors").unlink(),
           {"missing"}, of("rmn.cwl")),
    Damage("checkpoint of another replica, forged", other_checkpoint,
           {"inconsistent", "not reproduced"}, of("rmn.cwl")),
    Damage("a metric", lambda s: flip(s.path("runs/pmemo.rmn.baseline/metrics.csv"), -3),
           {"changed"}, of("rmn.cwl", "rmn.baseline")),
    Damage("a metric typed, records forged", forge_metrics, {"not reproduced"}, of("et.tns_cwl")),
    Damage("metrics lost", lambda s: s.path("runs/pmemo.rmn.cwl/metrics.csv").unlink(), {"missing"}, of("rmn.cwl")),
    # tables and figures
    Damage("a value typed", lambda s: write(s, CSV, typed(s, "value", "0.9")), {"changed"}, {CELL}),
    Damage("a value typed, record forged",
           lambda s: s.forge(CSV, typed(s, "value", "0.9")), {"not reproduced"}, {CELL}),
    Damage("a spread typed", lambda s: write(s, CSV, typed(s, "std", "0.0")), {"changed"}, {CELL}),
    Damage("the number of repeats typed", lambda s: s.forge(CSV, typed(s, "n", "3")),
           {"fewer replicas", "not reproduced"}, {CELL}),
    Damage("a row removed",
           lambda s: write(s, CSV, b"".join(line for line in s.path(CSV).read_bytes().splitlines(keepends=True)
                                           if CELL.encode() not in line)), {"changed"}, {CELL}),
    Damage("a row twice", lambda s: write(s, CSV, twice(s)), {"changed"}, {CELL}),
    Damage("the Markdown table", lambda s: flip(s.path(f"tables/{TABLE}.md")), {"changed"}, WHOLE),
    Damage("the LaTeX table lost", lambda s: s.path(f"tables/{TABLE}.tex").unlink(), {"missing"}, WHOLE),
    Damage("the HTML table forged",
           lambda s: s.forge(f"tables/{TABLE}.html", s.path(f"tables/{TABLE}.html").read_bytes() + b"\n"),
           {"not reproduced"}, WHOLE),
    Damage("plotted numbers", lambda s: flip(s.path(f"figures/{LABELS_ONLY}.csv"), -3), {"changed"}, set(),
           (LABELS_ONLY,)),
    Damage("plotted numbers forged",
           lambda s: s.forge(f"figures/{RUNS}.csv", s.path(f"figures/{RUNS}.csv").read_bytes() + b"x,y\n"),
           {"not reproduced"}, set(), (RUNS,)),
    Damage("a picture", lambda s: flip(s.path(f"figures/{RUNS}.png")), {"changed"}, set(), (RUNS,)),
    Damage("the picture of another figure, forged",
           lambda s: s.forge(f"figures/{RUNS}.png", s.path(f"figures/{LABELS_ONLY}.png").read_bytes()),
           {"not reproduced"}, set(), (RUNS,)),
    Damage("a picture without the digest of its numbers",
           lambda s: s.forge(f"figures/{RUNS}.pdf", s.path(f"figures/{RUNS}.pdf").read_bytes().replace(b"sha256", b"")),
           {"not reproduced"}, set(), (RUNS,)),
    # links and times
    Damage("a table that is a link", link_elsewhere(CSV), {"link"}, WHOLE),
    Damage("a table more, in a folder that is a link", table_in_a_linked_folder, {"unrecorded"}, {"extra/a/b"}),
    Damage("an end before the start", edited("runs/pmemo.rmn.cwl/metrics.csv", ended="2020-01-01T00:00:00.000Z"),
           {"impossible time"}, of("rmn.cwl", "rmn.baseline")),
    Damage("a time that is none", edited("runs/pmemo.rmn.cwl/metrics.csv", started="yesterday"),
           {"impossible time"}, of("rmn.cwl", "rmn.baseline")),
    Damage("a record with a package that the lock does not pin",
           lambda s: s.edit_record("runs/pmemo.rmn.cwl/metrics.csv",
                                   lambda facts: facts["environment"]["packages"].update(numpy="1.0")),
           {"off the lock"}, of("rmn.cwl", "rmn.baseline")),
    # records
    Damage("record edited", edited("runs/pmemo.rmn.baseline/metrics.csv", reseal=False, host="elsewhere"),
           {"record edited"}, of("rmn.cwl", "rmn.baseline")),
    Damage("record without its digest", lambda s: s.edit_record(CSV, lambda facts: facts.pop("digest"), reseal=False),
           {"record edited"}, WHOLE),
    Damage("record cut", lambda s: write(s, f"{CSV}.record.json", b'{"schema": 1'),
           {"record damaged", "unrecorded"}, WHOLE),
    Damage("record lost", lambda s: s.path(f"{CSV}.record.json").unlink(), {"unrecorded"}, WHOLE),
    Damage("record of the labels lost", lambda s: s.path("labels/pmemo/labels.safetensors.record.json").unlink(),
           {"unrecorded"}, ALL, BOTH),
    Damage("record copied", move, {"record misplaced"}, WHOLE),
    Damage("record's seed changed",
           lambda s: s.edit_record("runs/pmemo.rmn.cwl/predictions.safetensors",
                                   lambda facts: next(run for run in facts["params"]["runs"]
                                                      if run["id"] == "pmemo.rmn.cwl").update(seed=1)),
           {"stale setting", "inconsistent"}, of("rmn.cwl")),
    Damage("record's code changed",
           lambda s: s.edit_record("labels/pmemo/labels.safetensors",
                                   lambda facts: facts["code"]["modules"].update({"utopia.labels.build": "0" * 64})),
           {"stale code"}, ALL, BOTH),
    Damage("record's lock changed",
           edited(f"figures/{LABELS_ONLY}.csv", lock={"path": "envs/requirements.txt", "sha256": "0" * 64}),
           {"stale lock"}, set(), (LABELS_ONLY,)),
    # files that cannot be read as what they should be, and records that agree with them
    Damage("a manifest that is no JSON, forged", resealed("inputs/pmemo.json", b"{"),
           {"inconsistent", "not reproduced"}, ALL, BOTH),
    Damage("a manifest without items, forged", resealed("inputs/pmemo.json", b'{"dataset": "pmemo"}'),
           {"inconsistent", "not reproduced"}, ALL, BOTH),
    Damage("a manifest of other coverage, forged", resealed("inputs/pmemo.json", b"breaks off", b"is whole"),
           {"not reproduced"}, ALL, BOTH),
    Damage("a feature index that is a number, forged", resealed("features/pmemo/shard-0000.json", b"5"),
           {"inconsistent", "not reproduced"}, ALL, (RUNS,)),
    Damage("a feature index of other weights, forged",
           resealed("features/pmemo/shard-0000.json", b"\"seed\": ", b"\"seed\": 1"),
           {"inconsistent"}, ALL, (RUNS,)),
    Damage("labels that are no arrays, forged", resealed("labels/pmemo/labels.safetensors", bytes(range(256))),
           {"inconsistent", "not reproduced"}, ALL, BOTH),
    Damage("predictions that are no arrays, forged",
           resealed("runs/pmemo.rmn.cwl/predictions.safetensors", b"x" * 64),
           {"inconsistent", "not reproduced"}, of("rmn.cwl", "rmn.baseline")),
    Damage("a summary that is a list, forged", resealed("runs/pmemo.rmn.cwl/training.json", b"[1]"),
           {"inconsistent", "not reproduced"}, WHOLE),
    Damage("metrics that are no table, forged", resealed("runs/pmemo.rmn.cwl/metrics.csv", b'a,b\n"' + b"x" * 200_000),
           {"not reproduced"}, WHOLE),
    Damage("coverage edited", lambda s: flip(s.path("audit/coverage.csv"), -3), {"changed"}, set()),
    Damage("coverage edited, forged", resealed("audit/coverage.csv", b"pmemo,songs,6,5,1,", b"pmemo,songs,6,6,0,"),
           {"not reproduced"}, set()),
    Damage("a record of other types", lambda s: s.edit_record(CSV, lambda facts: facts.update(roles=[5])),
           {"record damaged", "unrecorded"}, WHOLE),
    Damage("a record without its roles", lambda s: s.edit_record(CSV, lambda facts: facts.pop("roles")),
           {"record damaged", "unrecorded"}, WHOLE),
    Damage("a metric typed, and the record says that no script was run", forge_metrics_of_nobody,
           {"stale setting"}, of("et.tns_cwl", "et.cwl", "et.baseline")),
    # strangers
    Damage("a table of unknown origin",
           lambda s: write(s, "tables/extra.csv", b"table,row,column,cell\nextra,a,b,extra/a/b\n"),
           {"unrecorded"}, {"extra/a/b"}),
    Damage("predictions of unknown origin",
           lambda s: files.write_text(s.path("runs/pmemo.et.magic/predictions.safetensors"), "x"),
           {"unrecorded"}, set()),
    Damage("a page of unknown origin", lambda s: files.write_text(s.path("report/other.html"), "x"),
           {"unrecorded"}, set()),
    Damage("numbers among the logs", lambda s: files.write_text(s.path("logs/train/numbers.csv"), "x"),
           {"unrecorded"}, set()),
]  # fmt: skip


def test_an_untouched_study_is_sound(small: Small) -> None:
    report = small.verify()
    assert report.as_dict()["findings"] == []
    assert report.is_sound and report.notes == []
    assert report.checked["cells"] == len(ALL) and report.checked["records"] == 15
    # 24 replicas' predictions, 6 metrics files, 4 forms of a table, the numbers of 2 figures
    assert report.checked["recomputed"] >= 24 + 6 + 4 + 2


def test_the_drill_is_large_enough() -> None:
    assert len({damage.name for damage in DAMAGES}) == len(DAMAGES) >= 40


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name.replace(" ", "_"))
def test_damage_is_found_and_what_it_touches_is_named(small: Small, damage: Damage) -> None:
    damage.do(small)
    report = small.verify()
    told = json.dumps(report.as_dict(), indent=1)
    assert {one.kind for one in report.findings} == damage.kinds, told
    assert set(report.cells) == damage.cells, told
    assert set(report.figures) == set(damage.figures), told


def test_a_picture_that_is_painted_over_is_found_by_drawing_it_again(small: Small) -> None:
    repaint(small)
    assert small.verify(pictures=False).is_sound
    report = small.verify(pictures=True)  # the three others, as they were, are not found
    assert [one.where for one in report.findings] == [f"{ROOT}/figures/{RUNS}.png"]
    assert report.figures == [RUNS]


def test_a_deleted_table_is_missed_although_nothing_names_it(small: Small) -> None:
    """The table, and its record: what is left agrees with itself, and only the plan tells."""
    assert not any(CSV in one.where for one in small.verify(partial=False).findings)
    delete_with_records(f"tables/{TABLE}.*")(small)
    assert small.verify(partial=True).is_sound
    report = small.verify(partial=False, recompute=False)
    assert {one.kind for one in report.findings} == {"not made"}
    assert [one.where for one in report.findings].count(f"{ROOT}/tables/{TABLE}.html") == 1


def test_links_on_the_way_are_noted_and_followed(small: Small) -> None:
    link_elsewhere("tables")(small)
    (small.path("tables") / "circle").symlink_to(small.path(""))
    small.path("features/gone").symlink_to(small.folder / "nowhere")
    report = small.verify(recompute=False)
    assert [(one.kind, one.where) for one in report.findings] == [("link", f"{ROOT}/features/gone")]
    assert [note for note in report.notes if note.startswith(f"{ROOT}/tables is a link")], report.notes


def test_packages_installed_otherwise_than_locked_are_noted(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "packages", lambda: {"numpy": "0.1"})
    report = small.verify(recompute=False)
    assert report.is_sound and any("numpy 0.1, not " in note for note in report.notes)


def test_what_people_read(small: Small) -> None:
    from utopia.cli.verify import in_words

    assert in_words(small.verify(recompute=False))[-1] == "sound: nothing contradicts the records"
    write(small, CSV, typed(small, "value", "0.9"))
    flip(small.path("labels/pmemo/labels.safetensors"))
    lines = in_words(small.verify(), most=1)
    assert lines[0].startswith("changed (2)") and any("and 1 more (--all shows them)" in line for line in lines)
    assert any(line.startswith("note: ") and "was not done again" in line for line in lines)
    assert lines[-1].startswith(f"NOT SOUND: 2 findings touch {len(ALL)} cells") and BOTH[0] in lines[-1]


def test_the_seal_shows_that_records_were_replaced(small: Small) -> None:
    seal = small.verify(recompute=False).seal
    assert small.verify(recompute=False, expected_seal=seal).is_sound
    # Rewritten in a way that contradicts nothing.
    small.edit_record(CSV, lambda facts: facts.update(host="elsewhere"))
    assert small.verify().is_sound
    report = small.verify(recompute=False, expected_seal=seal)
    assert [one.kind for one in report.findings] == ["seal"]
    assert set(report.cells) == WHOLE


def verdict(checkout: Path, *more: str) -> dict[str, Any]:
    done = Small(checkout).utopia("verify", "--configfile", "tiny.yaml", "--partial", "--hash-only", "--json", *more)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["sound"] else 1)
    return report


MODEL, LABELS, SCRIPT = (
    ("workflow/lib/utopia/models/rmn.py", "\nclass ", "\n_EXTRA = 1\n\n\nclass "),
    ("workflow/lib/utopia/labels/build.py", "\ndef ", "\n_EXTRA = 1\n\n\ndef "),
    ("workflow/scripts/render_table.py", "with record", "_EXTRA = 1\nwith record"),
)
EDITS: dict[str, tuple[list[tuple[str, str, str]], dict[tuple[str, str], set[str]]]] = {
    "model, setting, lock, card, and a remark": (
        [
            MODEL,
            ("tiny.yaml", "rmn: {training: {epochs: 2}}", "rmn: {training: {epochs: 3}}"),
            ("envs/requirements.txt", "\n", "\n# new\n"),
            ("workflow/resources/datasets/pmemo.yaml", "\n", "\n# new\n"),
            ("workflow/lib/utopia/labels/build.py", "\n", "\n# a remark\n"),
        ],
        {
            ("stale code", "utopia.models.rmn"): of("rmn.cwl", "rmn.baseline"),
            ("stale setting", "epochs"): of("rmn.cwl", "rmn.baseline"),
            ("stale lock", ""): WHOLE,
            ("changed", ""): ALL,
        },
    ),
    "labels and script": (
        [LABELS, SCRIPT],
        {("stale code", "utopia.labels.build"): ALL, ("stale code", SCRIPT[0]): WHOLE},
    ),
}
"""What is edited beside the results, and what must be found: (kind, what is named) and all that it touches."""


@pytest.mark.parametrize("name", EDITS)
def test_what_has_changed_beside_the_results_is_found(small_checkout: Path, edited: Any, name: str) -> None:
    edits, expected = EDITS[name]
    for file, old, new in edits:
        edited(file, lambda text, old=old, new=new: text.replace(old, new, 1))
    touched: dict[tuple[str, str], set[str]] = {}
    for finding in verdict(small_checkout)["findings"]:
        of_kind = [word for kind, word in expected if kind == finding["kind"] and word in finding["what"]]
        assert of_kind, finding
        for word in of_kind:
            touched.setdefault((finding["kind"], word), set()).update(finding["cells"])
    assert touched == expected
