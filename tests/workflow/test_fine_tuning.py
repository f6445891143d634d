"""Fine-tuning within the workflow, on the miniature: from videos to the weights that extraction reads."""

from __future__ import annotations

import json

from whole import Checkout

STUDY = """\
generated: {seconds: 8, width: 64, height: 48, items: {liris: 6}}
datasets: {liris: {features: [[openpose_action]], shard: 6}}
features:
  openpose_action:
    fine_tune: {dataset: liris, fps: 1.0, epochs: 2, batch: 8, held_out: 0.3}
    options: {weights: random, height: 32, width: 40}
"""
WEIGHTS = "features/weights/openpose_action.safetensors"
INDEX = "features/liris/shard-0000.json"


def test_the_weights_that_extraction_asks_for_are_made_recorded_and_made_again_when_they_must(fresh: Checkout) -> None:
    (fresh.folder / "study.yaml").write_text(STUDY, encoding="utf-8")

    def snakemake(*more: str) -> str:
        given = ("--configfile", "study.yaml", *more, "--", f"results/miniature/{INDEX}")
        return fresh.snakemake(*given, tiny=False)

    snakemake()
    record = json.loads((fresh.results / f"{WEIGHTS}.record.json").read_text())
    made = {entry["path"]: entry["sha256"] for entry in record["outputs"]}
    (digest,) = [sha256 for path, sha256 in made.items() if path.endswith(WEIGHTS)]
    assert {path.rpartition("/")[2] for path in (entry["path"] for entry in record["inputs"])} >= {
        "liris.json",
        "labels.safetensors",
    }
    assert record["opened"]["never_read"] == [] and record["code"]["undeclared"] == []
    index = json.loads((fresh.results / INDEX).read_text())
    assert index["weights"]["openpose_action"]["sha256"] == digest
    rows = [entry["openpose_action"] for entry in index["items"].values()]
    assert sum("file" in row for row in rows) >= 5 and all(row["width"] == 128 for row in rows if "file" in row)

    assert "nothing to do" in snakemake()
    (fresh.folder / "study.yaml").write_text(STUDY.replace("epochs: 2", "epochs: 3"), encoding="utf-8")
    said = snakemake("--dry-run")
    assert "fine_tune" in said and "extract_features" in said and "build_labels" not in said, said
