"""Fine-tuning an extractor's network, as a job: from weights and labelled frames to the weights that extraction reads.

What is learned is a folder of frames by class, or the labels of a data set's videos. Of these only the videos that
every fold trains on are looked at, so that no network has seen what it is tested on; their frames are decoded once into
files beside the result, which a job that was killed finds again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utopia import seeds
from utopia.config import registry
from utopia.config.extraction import FineTune
from utopia.errors import InputError
from utopia.features import cards, weights
from utopia.features.extract import refuse_changed
from utopia.files import digest, read_json
from utopia.labels.read import Labels
from utopia.media.container import decoder
from utopia.media.decoding import Decoder

_log = logging.getLogger(__name__)


def fine_tune(
    *,
    settings: Mapping[str, Any],
    weights_folder: Path | None,
    frames: Path | None,
    manifest: Path | None,
    labels: Path | None,
    root: Path | None,
    output: Path,
    seed: int,
    device: str,
    code: str = "",
) -> None:
    """Fine-tune the network of a feature and write its weights (see `extractors._finetune`).

    Args:
        settings: of the feature: `extractor`, `options`, `fine_tune` and, optionally, `sha256` of weights by card.
        weights_folder: where the weights lie that it starts from.
        frames: the folder of labelled frames, where classes are learned.
        manifest: the data set's manifest, where its labels are learned; with `labels` and `root`.
        labels: its labels file.
        root: the data set's folder, to which the manifest's paths are relative.
        output: the safetensors file to write.
        seed: the study's root seed.
        device: "auto", "cpu" or "cuda".
        code: fingerprint of the code; what other code has half done is not continued.

    Raises:
        InputError: weights are missing, or there is too little to learn from.
        ChecksumError: a video is not the one that the manifest lists, or weights are not those of their card.
    """
    from utopia.extractors import _finetune, _precision

    _precision.one_thread()
    how = FineTune.model_validate(dict(settings["fine_tune"]))
    extractor = str(settings["extractor"])
    module = registry.load("extractors", extractor)
    config = registry.config_of("extractors", extractor).model_validate(dict(settings.get("options", {})))
    own_seed = seeds.derive(seed, "fine-tuning", extractor)
    paths, base = _base(config, weights_folder, settings.get("sha256", {}), own_seed)
    network = module.tunable(config, paths.pop("weights"), own_seed, device, *paths.values())
    kept = output.parent / f".{output.stem}.frames"
    if frames is not None:
        lesson = _finetune.labelled_frames(frames)
    else:
        assert manifest is not None and labels is not None and root is not None, "a data set, or a folder of frames"
        lesson = _of_videos(network, manifest, Labels(labels), root, how, kept)
    tuned = _finetune.finetune(network, module.TUNED, lesson, output, how, own_seed, {**base, "code": code})
    shutil.rmtree(kept, ignore_errors=True)
    _log.info(
        "%d frames learned, %d held out: best after epoch %d (%.5f)",
        *(tuned.trained, tuned.held_out, tuned.epoch + 1, tuned.scores[tuned.epoch]),
    )
    if tuned.nothing_in:
        _log.warning("nothing to learn from in %d frames: %s ...", len(tuned.nothing_in), tuned.nothing_in[0])


def _base(
    config: Any, folder: Path | None, pins: Mapping[str, str], seed: int
) -> tuple[dict[str, Path | None], dict[str, Any]]:
    """The files of weights by setting, `weights` first, and what is to be said of them."""
    paths: dict[str, Path | None] = {}
    base: dict[str, Any] = {}
    for setting, card in cards.chosen(config).items():
        paths[setting] = None
        if card == cards.RANDOM:
            base[setting] = {"kind": "random", "seed": seed}
            continue
        found = weights.find(card, folder)
        if found.path is None:
            raise InputError(found.reason)
        paths[setting] = found.path
        base[setting] = {"kind": "card", "card": card, "sha256": weights.identify(found, pins.get(card))}
    return paths, base


def _of_videos(network: Any, manifest: Path, labels: Labels, root: Path, how: FineTune, kept: Path) -> Any:
    """The lesson of a data set: frames of its training videos, each with the labels at its time."""
    from utopia.extractors import _finetune

    listed = read_json(manifest)
    entries = {entry["id"]: entry for entry in listed["items"]}
    names = sorted(name for name in labels.targets if name not in labels.columns)
    train = _trained_on(labels)
    usable = [item for item in train if "video" in entries.get(item, {}).get("files", {})]
    if not names or not usable:
        raise InputError(
            f"{labels.dataset} has no video that every fold trains on"
            if names
            else f"the labels of {labels.dataset} are no single numbers",
            where=labels.path,
            why="a network must not be fine-tuned on what its features are tested on",
            remedy="fine-tune on another data set (`fine_tune.dataset`), or on labelled frames (`fine_tune.frames`)",
        )
    kept.mkdir(parents=True, exist_ok=True)
    found: list[Any] = []
    left_out: dict[str, str] = {}
    for number, item in enumerate(usable, start=1):
        video = entries[item]["files"]["video"]
        refuse_changed(root / video["path"], video["sha256"], manifest)
        path = kept / f"{digest([item, video['sha256'], how.fps, decoder()], 16)}.npy"
        try:
            times = _decoded(network, root / video["path"], how.fps, path)
        except InputError as error:  # as in extraction, a damaged video costs itself alone
            left_out[item] = error.what
            _log.warning("%s is left out: %s", item, error.what)
            continue
        _log.info("%d/%d %s: %d frames", number, len(usable), item, len(times))
        grid = labels.times(item)
        step = float(np.median(np.diff(grid))) if len(grid) > 1 else 1.0
        values = np.stack([labels.label(item, name) for name in names], axis=1)
        for row, time in enumerate(times):
            nearest = int(np.abs(grid - time).argmin())
            if abs(grid[nearest] - time) <= step:
                truth = tuple(float(value) for value in values[nearest])
                found.append(_finetune.TuningExample(path, f"{item} at {time:g} s", 0, item, truth, row))
    listing = [(item, entries[item]["files"]["video"]["sha256"]) for item in usable]
    truths = [(example.name, example.values) for example in found]
    source = {"dataset": labels.dataset, "videos": len(usable) - len(left_out), "frames": len(found)}
    source |= {"left_out": left_out}
    return _finetune.Lesson(found, tuple(names), True, source, digest([listing, truths, how.fps, decoder()], 64))


def _trained_on(labels: Labels) -> list[str]:
    """The items that are in the training part of every fold, in official order."""
    parts = [set(fold["train"]) for fold in labels.folds]
    return [item for item in labels.items if parts and all(item in part for part in parts)]


def _decoded(network: Any, video: Path, fps: float, path: Path) -> list[float]:
    """Decode a video's frames into a file [frames, H, W, 3], unless that is there already; the time of each."""
    if not path.is_file():
        samples = [(time, network.shrunk(frame)) for time, frame in Decoder().sample(video, fps=fps, every=None)]
        scratch = path.with_suffix(".part.npy")
        np.save(scratch, np.stack([frame for _, frame in samples]))
        scratch.replace(path)
    return [row / fps for row in range(len(np.load(path, mmap_mode="r", allow_pickle=False)))]
