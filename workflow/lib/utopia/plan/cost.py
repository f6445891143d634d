"""What extraction will cost, from the lengths of the videos and rates that were measured once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utopia.config import registry
from utopia.config.study import PRECOMPUTED, StudyBase
from utopia.errors import counted
from utopia.files import read_json
from utopia.inputs.miniature import draws_features
from utopia.plan.availability import DatasetPlan, generation

SOURCE = "x86-64, torch 2.11, one thread, full-size networks; no rate on a GPU was measured yet"
"""Where the rates come from."""
CPU_SECONDS_PER_ROW = {
    "googlenet": 0.055,
    "inception_v3": 0.17,
    "openpose_action": 2.0,
    "se_resnet": 0.39,
    "swin_l": 1.05,
    "vgg16_places365": 0.42,
    "vggish": 0.037,
    "xception_face": 0.38,
}
"""Of the network, per frame or per 0.96 s of sound; a face costs Xception 0.25 and MTCNN 0.13."""
CPU_SECONDS_OF_SMALL = {("swin_l", "tiny"): 0.012}
"""Of networks that only the miniature has, by extractor and `options.random`."""
ROWS_PER_SECOND_OF_SOUND = 1 / 0.96
DECODE_CPU_SECONDS_PER_SECOND = 0.03
"""Decoding a second of 640x360 H.264 at 25 frames per second and 3.7 Mbit/s, with skipping; of 1080p: 0.14."""


def seconds_per_row(extractor: str, options: Any) -> float | None:
    """CPU seconds of an extractor's network per row; of pictures of another size than its own, by their pixels.

    None: it was never measured.
    """
    rate = CPU_SECONDS_OF_SMALL.get(
        (extractor, str(getattr(options, "random", ""))), CPU_SECONDS_PER_ROW.get(extractor)
    )
    return None if rate is None else rate * relative_pixels(options)


def relative_pixels(options: Any) -> float:
    """How many pixels the network sees, as a share of those at its own size."""
    field = type(options).model_fields.get("size")
    usual = None if field is None else field.default
    return (options.size / usual) ** 2 if isinstance(usual, int) else 1.0


READ_WHOLE_BYTES = 50_000_000
"""Bytes of a manifest from which it is read line by line."""


@dataclass(frozen=True)
class ExtractionCost:
    """The cost of a data set's features that are extracted; None: not known."""

    videos: int
    seconds: float | None
    """Length of all videos (songs); null before the first manifest of real data is there."""
    rows: int | None
    """Frames and pieces of sound that the networks see."""
    cpu_seconds: float | None
    gpu_seconds: float | None
    """Null: no rate was measured."""
    unknown: tuple[str, ...]
    """Extractors without a measured rate: `cpu_seconds` is without them."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {**self.__dict__, "unknown": list(self.unknown), "source": SOURCE}


def extraction(study: StudyBase, dataset_plan: DatasetPlan, manifest: Path) -> ExtractionCost | None:
    """The cost of extracting a data set's features from nothing; None where none are extracted."""
    features = [study.features[name] for name in dataset_plan.features]  # type: ignore[attr-defined]
    features = [feature for feature in features if feature.extractor not in PRECOMPUTED]
    if not features or not dataset_plan.with_video:
        return None
    lengths = lengths_of(study, dataset_plan, manifest)
    unknown = tuple(sorted({chosen.extractor for chosen in features if chosen.extractor not in CPU_SECONDS_PER_ROW}))
    if lengths is None:
        return ExtractionCost(len(dataset_plan.with_video), None, None, None, None, unknown)
    total, rows, cpu = sum(lengths), 0, sum(lengths) * DECODE_CPU_SECONDS_PER_SECOND
    for feature in features:
        frames = registry.constant("extractors", feature.extractor, "MEDIUM") == "frames"
        rate = feature.options.fps if frames else ROWS_PER_SECOND_OF_SOUND
        rows_of_feature = sum(math.ceil(length * rate) for length in lengths)
        rows += rows_of_feature
        cpu += rows_of_feature * (seconds_per_row(feature.extractor, feature.options) or 0.0)
    return ExtractionCost(len(lengths), round(total, 1), rows, round(cpu, 1), None, unknown)


def lengths_of(study: StudyBase, dataset_plan: DatasetPlan, manifest: Path) -> list[float] | None:
    """Seconds per video: of the manifest where there is one, else of what will be generated."""
    how = generation(study, dataset_plan.name)
    if how is not None and draws_features(dataset_plan.name):
        return [float(how.size(dataset_plan.name)["seconds"])] * dataset_plan.items
    if manifest.is_file():
        chosen = set(dataset_plan.with_video)
        return [length for item, length in listed_seconds(manifest) if item in chosen]
    if how is None:
        return None
    return [float(how.size(dataset_plan.name)["seconds"])] * len(dataset_plan.with_video)


def listed_seconds(manifest: Path) -> Iterator[tuple[str, float]]:
    """Every item of a manifest whose length it knows, and that length.

    A manifest of a million videos is a gigabyte; whole it would take several of memory at each start. `write_json` puts
    keys in order, each on a line of its own and as deep as it is nested, so an item's `facts` come before its `id`.
    """
    if manifest.stat().st_size < READ_WHOLE_BYTES:
        for item in read_json(manifest)["items"]:
            if (length := item.get("facts", {}).get("duration_s")) is not None:
                yield item["id"], float(length)
        return
    inside, known = False, ""
    with manifest.open(encoding="utf-8") as lines:
        for line in lines:
            if inside and line.startswith('    "duration_s": '):
                known = line[18:].rstrip(",\n")
            elif line.startswith('   "'):
                inside = line.startswith('   "facts": {')
                if line.startswith('   "id": '):
                    if known not in ("", "null"):
                        yield json.loads(line[9:].rstrip(",\n")), float(known)
                    known = ""


def in_words(cost: ExtractionCost) -> str:
    """The cost for people."""
    words = f"extraction: {counted(cost.videos, 'video')}"
    if cost.seconds is None or cost.rows is None or cost.cpu_seconds is None:
        return f"{words}; the rest is known when they are listed"
    words += f" of {cost.seconds / 3600:.1f} h, {cost.rows} rows, about {_time(cost.cpu_seconds)} of a CPU core"
    return words + (f" without {', '.join(cost.unknown)}" if cost.unknown else "")


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
