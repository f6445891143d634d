"""How much jobs say that they have done, and the rates that `utopia status` makes of it: on real jobs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from clips import make, tone
from frame_toy import Toy

from utopia import tally
from utopia.cli.status import in_words, status
from utopia.features.extract import extract_shard
from utopia.files import read_json, sha256, write_json
from utopia.provenance.job import record
from utopia.provenance.throughput import Throughput, throughput
from utopia.training.checkpoints import HalfwayCheckpoint


def job_of(rule: str, folder: Path, outputs: dict[str, list[str]], params: dict[str, Any] | None = None) -> Any:
    """What Snakemake gives to a script."""
    log = folder / "logs" / rule / "a.log"
    return SimpleNamespace(
        rule=rule, wildcards={}, input=[], output=outputs, log=[str(log)], params=params or {}, config={}, threads=1
    )


def train(toy: Toy, name: str, **changes: Any) -> tuple[dict[str, Any], Path]:
    """Train as a job; the summary, and the record's place."""
    folder = toy.root / "runs" / name
    files = {"predictions": [f"{folder}/predictions.safetensors"], "summaries": [f"{folder}/training.json"]}
    with record(job_of(f"train_{name}", toy.root, files)):
        _, summary, _ = toy.train(f"runs/{name}", **changes)
    return summary, folder / "predictions.safetensors.record.json"


def epochs_of(summary: dict[str, Any]) -> int:
    return sum(replica["epochs"] for replica in summary["replicas"] if replica["seconds"])


def without_work(path: Path) -> None:
    """Make a record one of those that were written before jobs said what they have done."""
    facts = read_json(path)
    del facts["work"]
    write_json(path, facts)


@pytest.mark.parametrize("how", [{}, {"workers": 3}, {"engine": {"strategy": "vectorized", "places": 2}}])
def test_every_epoch_of_every_replica_is_counted(toy: Toy, how: dict[str, Any]) -> None:
    """In one process, in forks, in a stack: the record has their sum, and nothing else is left beside the log."""
    summary, path = train(toy, "toy_et", **how)
    assert read_json(path)["work"] == {"replica_epochs": epochs_of(summary)} == {"replica_epochs": 16}
    assert [file.name for file in (toy.root / "logs" / "train_toy_et").iterdir()] == ["a.log"]
    (rate,) = throughput(toy.root)
    assert (rate.stage, rate.unit, rate.amount, rate.jobs) == ("training", "replica_epochs", 16, 1)
    assert rate.seconds == read_json(path)["seconds"] and rate.per_job == 16 / rate.seconds
    without_work(path)  # an older record says the same, but that its seconds are those of the replicas
    (older,) = throughput(toy.root)
    assert older._replace(seconds=rate.seconds) == rate
    assert older.seconds == pytest.approx(sum(replica["seconds"] for replica in summary["replicas"]))


def test_what_was_found_is_no_work(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that is stored, and the epochs before a half-way checkpoint, were another job's work."""
    train(toy, "toy_et")
    first, *_ = sorted((toy.root / "runs" / "toy_et" / "replicas").iterdir())
    first.unlink()
    summary, path = train(toy, "toy_et")
    assert read_json(path)["work"] == {"replica_epochs": 4} == {"replica_epochs": epochs_of(summary)}

    monkeypatch.setattr("utopia.training.checkpoints.STORE_EVERY", 0.0)
    monkeypatch.setattr(HalfwayCheckpoint.__init__, "__defaults__", (0.0,))
    first.unlink()
    store, stored = HalfwayCheckpoint.store_if_due, []

    def store_and_stop(self: HalfwayCheckpoint, *state: Any) -> None:
        store(self, *state)
        stored.append(self.path)
        if len(stored) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(HalfwayCheckpoint, "store_if_due", store_and_stop)
        train(toy, "toy_et")
    summary, path = train(toy, "toy_et")
    assert epochs_of(summary) == 4 and read_json(path)["work"] == {"replica_epochs": 1}

    _, path = train(toy, "toy_et")
    assert read_json(path)["work"] == {} and throughput(toy.root) == []


FEATURES = {
    "fine": {"extractor": "googlenet", "options": {"weights": "random", "size": 32, "fps": 4.0}},
    "other": {"extractor": "googlenet", "options": {"weights": "random", "size": 40, "fps": 4.0}},
    "coarse": {"extractor": "googlenet", "options": {"weights": "random", "size": 32, "fps": 1.0}},
    "sound": {"extractor": "vggish", "options": {"weights": "random"}},
}


def test_frames_and_seconds_of_sound_are_counted(tmp_path: Path) -> None:
    """3 s with sound and 2 s without: a reading serves all networks of its rate."""
    make(tmp_path / "one.mp4", frames=75, sound=tone(3))
    make(tmp_path / "two.mp4", frames=50, draw=lambda index: np.full((120, 160, 3), 3 * index, np.uint8))
    items = [
        {"id": name, "files": {"video": {"path": f"{name}.mp4", "sha256": sha256(tmp_path / f"{name}.mp4")}}}
        for name in ("one", "two")
    ]
    manifest, index = tmp_path / "inputs.json", tmp_path / "features" / "movies" / "shard-0000.json"
    write_json(manifest, {"dataset": "movies", "items": items})

    def extract(features: dict[str, Any]) -> dict[str, float]:
        with record(job_of("extract_features", tmp_path, {"": [str(index)]}, {"features": features})) as job:
            made = extract_shard(
                manifest=manifest, root=tmp_path, items=["one", "two"], features=features, weights_folder=None,
                store=tmp_path / "features" / "store", output=index, seed=1, device="cpu", threads=2,
            )  # fmt: skip
            job.made(*made)
        work: dict[str, float] = read_json(Path(f"{index}.record.json"))["work"]
        return work

    assert extract({"coarse": FEATURES["coarse"]}) == {"frames": 3 + 2}
    work = extract(FEATURES)  # `coarse` is there already
    assert work["frames"] == 12 + 8
    assert work["sound_seconds"] == pytest.approx(3, abs=0.1)
    frames, sound = throughput(tmp_path)
    assert (frames.stage, frames.unit, frames.amount) == ("extraction", "frames", 20)
    assert (sound.unit, sound.amount) == ("sound_seconds", work["sound_seconds"])
    without_work(Path(f"{index}.record.json"))
    of_older = throughput(tmp_path)
    assert of_older[0] == frames
    assert of_older[1].amount == pytest.approx(2.88, abs=0.01)  # three whole rows of 0.96 s


def test_a_job_that_runs_tells_how_fast_it_is(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "WRITE_EVERY", 0.0)
    log = toy.root / "logs" / "train_toy_et" / "a.log"
    job = {"rule": "train_toy_et", "wildcards": {}, "log": str(log), "started": None}
    other = {"rule": "render_page", "wildcards": {}, "log": str(log), "started": None}
    seen: list[Throughput] = []

    def look(done: int, of: int, line: str) -> None:
        seen.extend(throughput(toy.root, [job, other]))

    train(toy, "toy_et", progress=look)
    assert [(rate.stage, rate.unit, rate.running, rate.jobs, rate.per_job) for rate in seen] == [
        ("training", "replica_epochs", 1, 0, None)
    ] * 4
    assert all(rate.now > 0 for rate in seen)


def test_the_command_says_it(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of forks that write for themselves, and of jobs that are done; a damaged file is passed over."""
    train(toy, "toy_et")
    log = toy.root / "logs" / "train_toy_rmn" / "b.log"
    for process, epochs in ((1, 30), (2, 10)):
        content = {"counts": {"replica_epochs": epochs}, "seconds": 20.0}
        write_json(log.with_name(f"b.log.tally.{process}.json"), content)
    log.with_name("b.log.tally.3.json").write_text('{"counts": []')
    run = {
        "state": "running", "pid": os.getpid(), "total": 2, "done": 1,
        "running": [{"rule": "train_toy_rmn", "wildcards": {}, "log": str(log), "started": None}],
    }  # fmt: skip
    monkeypatch.setattr("utopia.cli.runlock.is_held", lambda folder: True)
    write_json(toy.root / "audit" / "run.json", run)
    found = status(toy.root, "tiny")
    (rate,) = found["throughput"]
    assert (rate["now"], rate["running"], rate["jobs"]) == (2.0, 1, 1)
    assert json.loads(json.dumps(found)) == found
    (line,) = (line for line in in_words(found) if line.startswith("  rate"))
    assert "training" in line and "2 replica-epochs per second now, in 1 job; " in line and "in 1 job done" in line


def test_counting_disturbs_no_job(tmp_path: Path) -> None:
    """Where nobody counts, and where counts cannot be written."""
    tally.count("frames")
    tally.flush()
    (tmp_path / "file").write_text("")
    with tally.counting(tmp_path / "file" / "a.log") as counted:
        tally.count("frames", 3)
        tally.flush()
    assert counted.total() == {"frames": 3}
    with tally.counting(None) as counted:
        tally.count("frames", 2)
    assert counted.total() == {"frames": 2}
