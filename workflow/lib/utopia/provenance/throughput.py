"""How fast the costly stages of a study are: work done per second of a job, from records and from jobs that run.

Records say what their job has done itself (`work`); in older ones that is derived: of an extraction from its index, of
a training from its summary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from utopia import arrays, tally
from utopia.config import registry
from utopia.errors import UtopiaError
from utopia.files import read_json
from utopia.plan.jobs import family
from utopia.provenance.job import SUFFIX

STAGES = {"extract_features": "extraction", "train": "training"}
"""By rule, or family of rules."""
UNITS = ("frames", "sound_seconds", "replica_epochs")
_RECORDS = (f"features/*/shard-*.json{SUFFIX}", f"runs/*/predictions.safetensors{SUFFIX}")


class Throughput(NamedTuple):
    """A stage's work of one kind."""

    stage: str
    unit: str
    """One of `UNITS`."""
    amount: float
    """By the jobs that are done."""
    seconds: float
    """Of these jobs, from their first line of work to their record."""
    jobs: int
    now: float
    """Per second, of all jobs that run, together."""
    running: int
    """How many of them have said what they do."""

    @property
    def per_job(self) -> float | None:
        """Per second of a job; None: no job is done."""
        return self.amount / self.seconds if self.seconds > 0 else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        per_job = None if self.per_job is None else float(f"{self.per_job:.4g}")
        now = float(f"{self.now:.4g}") if self.running else None
        return {**self._asdict(), "seconds": round(self.seconds, 1), "per_job": per_job, "now": now}


def throughput(folder: Path, running: Iterable[Mapping[str, Any]] = ()) -> list[Throughput]:
    """The rates of a study's stages, in the order of the workflow; stages that have done nothing are left out.

    Args:
        folder: the study's folder.
        running: jobs that run, as `audit/run.json` names them: `rule` and `log`.
    """
    amounts, seconds, jobs = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for stage, work, took in _recorded(folder):
        for unit, amount in work.items():
            amounts[stage, unit] += amount  # type: ignore[assignment]
            seconds[stage, unit] += took  # type: ignore[assignment]
            jobs[stage, unit] += 1
    now, at_work = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for job in running:
        stage_of_job = STAGES.get(family(str(job.get("rule"))))
        if stage_of_job is not None and job.get("log"):
            counts, took = tally.running(Path(str(job["log"])))
            for unit, amount in counts.items() if took > 0 else ():
                now[stage_of_job, unit] += amount / took  # type: ignore[assignment]
                at_work[stage_of_job, unit] += 1
    return [
        Throughput(*key, amounts[key], seconds[key], jobs[key], now[key], at_work[key])
        for key in ((stage, unit) for stage in STAGES.values() for unit in UNITS)
        if amounts[key] or at_work[key]
    ]


def _recorded(folder: Path) -> Iterator[tuple[str, dict[str, float], float]]:
    """Of each job of a stage that is done: the stage, what it has done and its seconds."""
    for path in (path for pattern in _RECORDS for path in sorted(folder.glob(pattern))):
        # a damaged record is `verify`'s to tell; here nothing is known of its job
        with suppress(UtopiaError, OSError, ValueError, LookupError, TypeError, AttributeError):
            facts = from_json(path.read_bytes())
            stage = STAGES.get(family(facts["rule"]))
            if stage is None:
                continue
            made = Path(str(path).removesuffix(SUFFIX))
            took = float(facts["seconds"])
            work = facts.get("work")
            if work is None:
                work, took = _of_training(facts, made) if stage == "training" else (_of_index(facts, made), took)
            yield stage, {unit: float(work[unit]) for unit in UNITS if work.get(unit)}, took


def _of_training(facts: Mapping[str, Any], made: Path) -> tuple[dict[str, float], float]:
    """Epochs of the replicas that an older job has trained, and the seconds that these took."""
    epochs, seconds = 0, 0.0
    for predictions in facts["roles"]["outputs"]["predictions"]:
        summary = read_json(made.parents[1] / Path(predictions).parent.name / "training.json")
        for replica in summary["replicas"]:
            if replica["seconds"]:
                epochs, seconds = epochs + replica["epochs"], seconds + replica["seconds"]
    return {"replica_epochs": epochs}, seconds


def _of_index(facts: Mapping[str, Any], made: Path) -> dict[str, float]:
    """Frames and seconds of sound that an older job has read, by the features in its index that it made itself.

    Features of one rate are made from one reading.
    """
    reused = {Path(path).name for path in facts.get("reused", ())}
    settings = facts["params"]["features"]
    frames = sound_seconds = 0.0
    for features in read_json(made)["items"].values():
        of_rate: dict[str, float] = {}
        for name, entry in features.items():
            if "file" not in entry or Path(entry["file"]).name in reused:
                continue
            options = settings[name]["options"]
            if registry.fact("extractors", settings[name]["extractor"], "MEDIUM", "frames") == "frames":
                of_rate[f"{options.get('fps')}/{options.get('every')}"] = entry["rows"]
            else:
                times = arrays.load(made.parents[1] / entry["file"])["times"]
                of_rate["sound"] = float(times[-1] + (times[-1] - times[0]) / max(1, len(times) - 1))
        sound_seconds += of_rate.pop("sound", 0.0)
        frames += sum(of_rate.values())
    return {"frames": frames, "sound_seconds": sound_seconds}
