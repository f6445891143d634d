"""What a unit of work costs, and where each rate comes from: measured here, measured elsewhere, or not known.

A rate of training is looked for in this order: the study's own trainings, the micro-benchmark of this machine
(`utopia plan --measure`), the table of `benchmarks/rates.py`. A rate that none of them has is unknown: it is named, and
what it would price is left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from utopia.config.study import PRECOMPUTED
from utopia.errors import UtopiaError
from utopia.files import digest, read_json
from utopia.plan import cost
from utopia.plan.runs import Run

if TYPE_CHECKING:
    from utopia.plan.plan import Plan

ELSEWHERE = "measured on another machine (x86-64, torch 2.11, one thread; benchmarks/)"
HERE = "measured here"
NAME = Path("audit") / "rates.json"
"""Below the study's folder: what the micro-benchmark of this machine gave."""


class TrainingRates(NamedTuple):
    """Seconds of training by model and width."""

    width: int
    """`d_model`, or of a bi-GRU its widest layer."""
    per_frame: float
    """A frame in an epoch of one replica."""
    per_video: float
    """What a video adds in an epoch of one replica, whatever its length: a step of the optimiser."""


TRAINING: Mapping[str, tuple[TrainingRates, ...]] = {
    "bi_gru": (TrainingRates(24, 5.0e-5, 4.0e-3), TrainingRates(512, 1.0e-3, 0.0)),
    "et": (TrainingRates(32, 1.5e-5, 1.0e-2), TrainingRates(128, 4.1e-4, 0.0)),
    "pgl_sum": (TrainingRates(32, 1.5e-5, 4.5e-3), TrainingRates(128, 6.0e-5, 0.0), TrainingRates(1024, 4.6e-4, 0.0)),
    "rmn": (TrainingRates(32, 6.0e-5, 1.7e-2), TrainingRates(128, 7.0e-5, 0.0)),
}
"""CPU seconds, one thread. The published widths: `benchmarks/rates.py`, features of 1024 values, videos of 120 to 480
frames (a step is then part of the rate of a frame). The others: the miniature's own trainings."""


STACKED = 0.1
"""Of `per_video`, what is left where 16 narrow replicas are trained as one stack on a CPU."""


@dataclass(frozen=True)
class Rate:
    """Seconds of a unit of work."""

    per_frame: float
    per_video: float
    source: str
    on_gpu: bool = False

    def seconds(self, frames: float, videos: float) -> float:
        """Of one epoch of one replica."""
        return frames * self.per_frame + videos * self.per_video


class Rates:
    """The rates that hold for a study on this machine.

    Args:
        root: the study's folder, which need not be there.
    """

    def __init__(self, root: Path) -> None:
        self._own = of_trainings(read_json(path) for path in sorted(root.glob("runs/*/training.json")))
        self._measured = read(root)

    def training(self, run: Run) -> Rate | None:
        """The rate of a training; None: nobody measured it."""
        model = str(run.settings["model"])
        for key in ((run.dataset, model), ("", model)):
            if key in self._own:
                return self._own[key]
        if measured := self._measured.get("training", {}).get(key_of(run)):
            return Rate(float(measured["per_frame"]), 0.0, self._source(measured), measured["device"] == "cuda")
        entry = nearest(model, width(run))
        if entry is None:
            return None
        shared = STACKED if (run.settings.get("engine") or {}).get("strategy") == "vectorized" else 1.0
        return Rate(entry.per_frame, entry.per_video * shared, f"{ELSEWHERE} at {entry.width} wide")

    def extraction(self, extractor: str, options: Any) -> tuple[float, str] | None:
        """CPU seconds of an extractor's network per row, and their source; None: nobody measured it."""
        if measured := self._measured.get("extraction", {}).get(key_of_options(extractor, options)):
            return float(measured["per_row"]), self._source(measured)
        known = cost.seconds_per_row(extractor, options)
        return None if known is None else (known, ELSEWHERE)

    def _source(self, measured: Mapping[str, Any]) -> str:
        return f"{HERE}: micro-benchmark of {self._measured['seconds']:.0f} s on {self._measured['host']}"


def read(root: Path) -> dict[str, Any]:
    """What the micro-benchmark of this machine gave; nothing where it has not run, or ran on another machine."""
    import socket

    try:
        stored = read_json(root / NAME)
    except (OSError, UtopiaError):
        return {}
    return stored if isinstance(stored, dict) and stored.get("host") == socket.gethostname() else {}


def to_measure(plan: Plan, seconds: float) -> dict[str, Any]:
    """What the micro-benchmark is asked to try: each kind of training and extractor of a study once, dearest first."""
    from utopia.plan.price import Pricing

    pricing = Pricing(plan)
    trainings: dict[str, tuple[float, dict[str, Any]]] = {}
    for run in (run for runs in plan.batches.values() for run in runs):
        if "clips" in run.settings["model_config"]["training"]:
            continue  # series are cut into clips another way, which random series have not
        videos = max(1, len(plan.datasets[run.dataset].item_ids))
        known = pricing.rates.training(run)
        cost_of_all = pricing.replicas(run) * (pricing.replica(run, known) if known else math.inf)
        asked = {
            "key": key_of(run),
            "frames": pricing.frames(run.dataset) / videos,
            "width": pricing.feature_width(run.dataset),
            "run": {name: run.settings[name] for name in ("model", "model_config")},
        }
        trainings[key_of(run)] = (trainings.get(key_of(run), (0.0,))[0] + cost_of_all, asked)
    extractors = {}
    for name in dict.fromkeys(name for dataset_plan in plan.datasets.values() for name in dataset_plan.features):
        feature = plan.study.features[name]  # type: ignore[attr-defined]
        if feature.extractor not in PRECOMPUTED:
            options = feature.options.model_dump(mode="json")
            key = key_of_options(feature.extractor, feature.options)
            extractors[key] = {"key": key, "extractor": feature.extractor, "options": options}
    ordered = sorted(trainings.values(), key=lambda training: -training[0])
    return {"seconds": seconds, "trainings": [asked for _, asked in ordered], "extractors": [*extractors.values()]}


def key_of(run: Run) -> str:
    """What a rate of training depends on: the model's settings, and the features that feed it."""
    recipe = {"epochs", "selection", "patience"}
    settings = dict(run.settings["model_config"])
    settings["training"] = {name: value for name, value in settings["training"].items() if name not in recipe}
    return f"{run.dataset}.{run.settings['model']}.{digest([settings, list(run.features)], 12)}"


def key_of_options(extractor: str, options: Any) -> str:
    """What a rate of extraction depends on: the network's options, but for which weights it has."""
    settings = {name: value for name, value in options.model_dump(mode="json").items() if "weights" not in name}
    return f"{extractor}.{digest(settings, 12)}"


def width(run: Run) -> int:
    """How wide a run's network is; of one whose width is that of its features, the published 1024."""
    settings = run.settings["model_config"]
    if "units" in settings and isinstance(settings["units"], list):
        return max(settings["units"])
    return int(settings.get("d_model") or 1024)


def checkpoint_bytes(run: Run) -> int:
    """About how large a stored replica is: its weights, nearly all of them square matrices."""
    settings, wide = run.settings["model_config"], width(run)
    layers, feedforward = int(settings.get("layers", 0)), int(settings.get("feedforward", 0))
    return 600_000 + 4 * (8 * wide**2 + layers * (4 * wide**2 + 2 * wide * feedforward))


def nearest(model: str, wide: int) -> TrainingRates | None:
    """The measured width that is nearest to another, by their ratio; None where the model was never measured."""
    entries = TRAINING.get(model, ())
    return min(entries, key=lambda entry: abs(math.log(entry.width / wide)), default=None)


def of_trainings(summaries: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Rate]:
    """Seconds per frame and epoch of the trainings that a study has already done, by data set and model, and by model.

    Seconds are those of the clock in the job, so other load on the machine is in them.
    """
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    frames: dict[tuple[str, str], float] = defaultdict(float)
    devices: dict[tuple[str, str], str] = {}
    for summary in summaries:
        model, lengths = str(summary["settings"]["model"]), summary["items"]
        dataset = str(summary["settings"].get("dataset") or str(summary.get("run", "")).partition(".")[0])
        clips = (summary["settings"].get("model_config") or {}).get("training", {}).get("clips")
        for replica in summary["replicas"]:
            if not replica.get("seconds"):
                continue
            rows = [clips["steps"] if clips else lengths.get(item, 0) for item in replica["fitted"]]
            for key in ((dataset, model), ("", model)):
                seconds[key] += replica["seconds"]
                frames[key] += replica["epochs"] * sum(rows)
                devices[key] = str(summary["device"])
    return {
        key: Rate(
            seconds[key] / frames[key], 0.0, f"{HERE}: this study's own trainings ({devices[key]})",
            devices[key].startswith("cuda"),
        )
        for key in seconds
        if frames[key]
    }  # fmt: skip
