"""What a forger does to a finished study: changes of files, and of all records so that they agree."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from studies import Small, flip

from utopia import arrays, files

TABLE = "ulda_table_7"
LABELS_ONLY, RUNS = "beyond_distribution_pmemo", "beyond_error_by_label_pmemo"
CSV = f"tables/{TABLE}.csv"
CELL = f"{TABLE}/et.ulda/valence.pcc"


def first(study: Small, pattern: str) -> Path:
    return sorted(study.path("").glob(pattern))[0]


def replaced(path: str, old: str, new: str) -> Callable[[Small], Any]:
    def do(study: Small) -> None:
        text = study.path(path).read_text()
        assert old in text
        study.path(path).write_text(text.replace(old, new, 1))

    return do


def typed(study: Small, field: str, value: str) -> bytes:
    """The table with one value of `CELL` typed by hand."""
    with study.path(CSV).open(newline="") as file:
        lines = list(csv.DictReader(file))
    one = next(line for line in lines if line["cell"] == CELL)
    assert one[field] != value
    one[field] = value
    text = io.StringIO()
    writer = csv.DictWriter(text, lines[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()


def twice(study: Small) -> bytes:
    """The table with a second line for `CELL`, of another value."""
    other = typed(study, "value", "0.8").splitlines(keepends=True)
    return study.path(CSV).read_bytes() + next(line for line in other if CELL.encode() in line)


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


def forge_metrics_of_nobody(study: Small) -> None:
    """A typed metric whose record names no script and no module, so that nothing can be done again."""
    forge_metrics(study)
    nothing = {"roots": [], "files": [], "modules": {}, "fingerprint": files.digest({}, 64)}
    study.edit_record("runs/pmemo.et.tns_cwl/metrics.csv", lambda facts: facts["code"].update(nothing))
    study.remake(CSV)


def resealed(path: str, *content: bytes) -> Callable[[Small], Any]:
    """Another content of a file (or `old, new` in it) and records that agree."""

    def do(study: Small) -> None:
        stored = study.path(path).read_bytes()
        assert len(content) == 1 or content[0] in stored
        study.forge(path, content[0] if len(content) == 1 else stored.replace(*content, 1))

    return do


def forge_predictions(study: Small) -> None:
    path = study.path("runs/pmemo.rmn.cwl/predictions.safetensors")
    stored = arrays.load(path)
    changed = {name: np.array(stored[name]) + np.float32(0.01 * (n == 0)) for n, name in enumerate(stored)}
    arrays.save(path, changed, stored.meta)
    study.forge("runs/pmemo.rmn.cwl/predictions.safetensors", path.read_bytes())


def as_of_old(study: Small) -> None:
    """Rewrite the study's files as they were when the number of a repeat was called a seed, by other code."""
    older = {"utopia.evaluation.metrics_csv": "0" * 64}
    for path in sorted(study.path("runs").glob("*/metrics.csv")):
        name = path.relative_to(study.path("")).as_posix()
        header, lines = path.read_text().split("\n", 1)
        assert header == "target,fold,repeat,item,metric,value"
        study.forge(name, f"target,fold,seed,item,metric,value\n{lines}".encode())
        study.edit_record(name, lambda facts: facts["code"]["modules"].update(older))
    for path in sorted(study.path("runs").glob("*/predictions.safetensors")):
        stored = arrays.load(path)
        meta = {name: value for name, value in stored.meta.items() if name not in ("format", "repeats")}
        arrays.save(path, {name: np.array(stored[name]) for name in stored}, meta | {"seeds": stored.meta["repeats"]})
        study.forge(path.relative_to(study.path("")).as_posix(), path.read_bytes())
    for path in sorted(study.path("runs").glob("*/training.json")):
        facts = json.loads(path.read_text())
        del facts["format"]
        files.write_json(path, facts)
        study.forge(path.relative_to(study.path("")).as_posix(), path.read_bytes())


def drop_replica_from_predictions(study: Small) -> None:
    path = study.path("runs/pmemo.rmn.cwl/predictions.safetensors")
    stored = arrays.load(path)
    kept = {name: np.array(stored[name]) for name in stored if name.split("/")[2] == "0"}
    arrays.save(path, kept, {**stored.meta, "repeats" if "format" in stored.meta else "seeds": [0]})
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


def forge_labels(study: Small) -> None:
    """The test labels drawn half way to what a run predicts, and all that follows from them made again."""
    path, predicted = (
        study.path("labels/pmemo/labels.safetensors"),
        study.path("runs/pmemo.rmn.cwl/predictions.safetensors"),
    )
    labels, predictions = arrays.load(path), arrays.load(predicted)
    changed = {name: np.array(labels[name]) for name in labels}
    for place in predictions:
        target, _, seed, item = place.split("/")
        if seed == "0":
            changed[f"{item}/{target}"] = (changed[f"{item}/{target}"] + predictions[place]) / 2
    arrays.save(path, changed, labels.meta)
    study.forge("labels/pmemo/labels.safetensors", path.read_bytes())
    for metrics in sorted(study.path("runs").glob("*/metrics.csv")):
        study.remake(metrics.relative_to(study.path("")).as_posix())
    for name in (CSV, f"figures/{LABELS_ONLY}.csv", f"figures/{RUNS}.csv"):
        study.remake(name)


def forge_distribution(study: Small) -> None:
    path = first(study, "labels/pmemo/distribution*.safetensors")
    stored = arrays.load(path)
    changed = {name: np.array(stored[name]) * (2 if name.endswith("/weight") else 1) for name in stored}
    arrays.save(path, changed, stored.meta)
    study.forge(path.relative_to(study.path("")).as_posix(), path.read_bytes())


def forge_summary(change: Callable[[dict[str, Any]], Any]) -> Callable[[Small], None]:
    """Something else said of a run's first replica, its record made to agree."""

    def do(study: Small) -> None:
        path = study.path("runs/pmemo.rmn.cwl/training.json")
        facts = json.loads(path.read_text())
        change(facts["replicas"][0])
        files.write_json(path, facts)
        study.forge("runs/pmemo.rmn.cwl/training.json", path.read_bytes())

    return do


def forge_checkpoint(study: Small) -> None:
    """A checkpoint that says that it was made from another seed; index, summary and record agree."""
    path = first(study, "runs/pmemo.rmn.cwl/replicas/*.safetensors")
    stored = arrays.load(path)
    arrays.save(path, {name: np.array(stored[name]) for name in stored}, {**stored.meta, "seed": 1})
    agree_on_checkpoint(study, path)


def swap_feature(study: Small) -> None:
    """The features of another song, under the first one's name, in index and record."""
    path = study.path("features/pmemo/shard-0000.json")
    facts = json.loads(path.read_text())
    one, other = [each["vggish"] for each in facts["items"].values() if "file" in each["vggish"]][:2]
    study.forge(f"features/{one['file']}", study.path(f"features/{other['file']}").read_bytes())
    one["sha256"] = other["sha256"]
    files.write_json(path, facts)
    study.forge("features/pmemo/shard-0000.json", path.read_bytes())


def repaint(study: Small) -> None:
    """Another picture that says that it shows the same numbers."""
    path = study.path(f"figures/{RUNS}.png")
    with Image.open(path) as picture:
        comment = PngInfo()
        comment.add_text("Comment", picture.info["Comment"])
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path, pnginfo=comment)
    study.forge(f"figures/{RUNS}.png", path.read_bytes())


def link_elsewhere(path: str) -> Callable[[Small], None]:
    """A file, or a folder, moved out of the study, with a link in its place."""

    def do(study: Small) -> None:
        elsewhere = study.folder / "elsewhere"
        shutil.move(study.path(path), elsewhere)
        study.path(path).symlink_to(elsewhere)

    return do


def table_in_a_linked_folder(study: Small) -> None:
    link_elsewhere("tables")(study)
    (study.folder / "elsewhere" / "extra.csv").write_bytes(b"table,row,column,cell\nextra,a,b,extra/a/b\n")


def move(study: Small) -> None:
    shutil.copy2(study.path(f"{CSV}.record.json"), study.path("tables/other.csv.record.json"))


def touched_song(study: Small) -> None:
    """Swapped under the same time and the same size."""
    flip(study.path("inputs/raw/pmemo/chorus/3.mp3"))


def agree_on_checkpoint(study: Small, path: Path) -> None:
    """Let the records, and the summary of its run, name a checkpoint as it is now."""
    run = path.parents[1].name
    study.forge(f"runs/{run}/replicas/{path.name}", path.read_bytes())
    summary = study.path(f"runs/{run}/training.json")
    facts = json.loads(summary.read_text())
    next(one for one in facts["replicas"] if one["checkpoint"].endswith(path.name))["sha256"] = files.sha256(path)
    files.write_json(summary, facts)
    study.forge(f"runs/{run}/training.json", summary.read_bytes())


def empty_checkpoints(study: Small, run: str = "pmemo.rmn.cwl") -> None:
    """Parameters that are all zero, in checkpoints that still hold the predictions."""
    for path in study.path(f"runs/{run}/replicas").glob("*.safetensors"):
        stored = arrays.load(path)
        emptied = {name: np.array(stored[name]) * (0 if name.startswith("parameters/") else 1) for name in stored}
        arrays.save(path, emptied, stored.meta)
        agree_on_checkpoint(study, path)


def delete_with_records(*patterns: str) -> Callable[[Small], None]:
    """Results, and the records that tell of them: nothing that is left names them."""

    def do(study: Small) -> None:
        for pattern in patterns:
            for path in study.path("").glob(pattern):
                path.unlink()

    return do


def rewrite_host(study: Small) -> None:
    """A record that names another machine, with the digest that fits."""
    study.edit_record(CSV, lambda facts: facts.update(host="elsewhere"))
