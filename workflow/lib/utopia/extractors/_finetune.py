"""Fine-tuning a network of this folder on labelled frames: what ULDA (sec. 4.3) did to OpenPose and to Xception.

[U] The layers that were trained and the settings are undocumented. An extractor file that can be fine-tuned has
`TUNED`, prefixes of the parameters to train, and `tunable(...)`, its network. A `Lesson` is what it learns: classes of
frames, or values such as valence and arousal. The result is a safetensors file with the parameters, those of the linear
output layer under `classifier.`, and in its metadata what it was trained on. After each epoch all that the next one
needs is stored beside it, so a training that was stopped continues, to the same bytes.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision.io import ImageReadMode, decode_image

from utopia import arrays, seeds
from utopia.config.extraction import FineTune
from utopia.errors import InputError
from utopia.extractors._precision import precision
from utopia.files import digest, sha256

_IMAGES = (".jpg", ".jpeg", ".png")


class Tunable(Protocol):
    """A network that frames can be prepared for."""

    network: nn.Module
    device: torch.device
    width: int
    """Numbers per frame."""

    def prepare(self, frame: np.ndarray, name: str) -> Any:
        """A frame uint8 [H, W, 3] as `embed` takes it; None if there is nothing in it to learn from (no face)."""

    def embed(self, prepared: Sequence[Any]) -> torch.Tensor:
        """Features [N, width] of prepared frames."""

    def shrunk(self, frame: np.ndarray) -> np.ndarray:
        """A frame as small as it may be kept without a change of what `prepare` makes of it."""


@dataclass(frozen=True)
class TuningExample:
    """A labelled frame."""

    path: Path
    """An image, or the `.npy` file [frames, H, W, 3] that holds it."""
    name: str
    """Its own, in messages and results."""
    label: int
    """Number of its class; 0 where values are learned."""
    group: str
    """Frames of one group (a video) are held out together."""
    values: tuple[float, ...] = ()
    """What is to be predicted where values are learned."""
    row: int = 0
    """Which frame of the file it is."""


@dataclass(frozen=True)
class Lesson:
    """What a network learns."""

    examples: Sequence[TuningExample]
    names: tuple[str, ...]
    """Of the classes, or of the values."""
    regression: bool
    """Whether values are learned, with the squared error, and not classes, with cross-entropy."""
    source: Mapping[str, Any]
    """What the frames are, for the metadata."""
    digest: str
    """Of everything in the frames and labels that determines the result."""


@dataclass(frozen=True)
class Tuned:
    """What came of it."""

    names: tuple[str, ...]
    """Of the classes, or of the values."""
    trained: int
    held_out: int
    nothing_in: tuple[str, ...]
    """Names of frames that there was nothing to learn from."""
    losses: tuple[float, ...]
    """On the frames trained on, by epoch."""
    scores: tuple[float, ...]
    """On the frames held out, by epoch: the share whose class is found, or minus the mean squared error."""
    epoch: int
    """The best on these, from 0; the parameters are those after it."""


def labelled_frames(folder: Path) -> Lesson:
    """The lesson of a folder of frames by class; see `examples`.

    Raises:
        InputError: there are fewer than two classes with frames.
    """
    classes, found = examples(folder)
    frames = dict(Counter(classes[example.label] for example in found))
    listing = [(example.name, sha256(example.path)) for example in found]
    return Lesson(found, classes, False, {"folder": folder.name, "frames": frames}, digest(listing, 64))


def examples(folder: Path) -> tuple[tuple[str, ...], list[TuningExample]]:
    """The classes and frames of `<folder>/<class>/[<video>/...]<frame>.{jpg,jpeg,png}`, in the order of their names.

    Raises:
        InputError: there are fewer than two classes with frames.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES and path.is_file())
    parts = [path.relative_to(folder).parts for path in paths]
    inside = [(path, names) for path, names in zip(paths, parts, strict=True) if len(names) > 1]
    classes = tuple(sorted({names[0] for _, names in inside}))
    if len(classes) < 2:
        raise InputError(
            f"holds labelled frames of {len(classes)} classes, and two are needed",
            where=folder,
            remedy="lay it out as <class>/<video>/<frame>.jpg, or <class>/<frame>.jpg",
        )
    found = []
    for path, names in inside:
        group = names[1] if len(names) > 2 else "/".join(names)
        found.append(TuningExample(path, "/".join(names), classes.index(names[0]), group))
    return classes, found


def split(found: Sequence[TuningExample], share: float, seed: int) -> tuple[list[TuningExample], list[TuningExample]]:
    """Frames to train on and frames held out, no group on both sides, about `share` of every class held out.

    Raises:
        InputError: a class would have none on one side.
    """
    frames = Counter(example.label for example in found)
    labels: dict[str, set[int]] = defaultdict(set)
    for example in found:
        labels[example.group].add(example.label)
    wanted = {label: share * count for label, count in frames.items()}
    out: set[str] = set()
    have: Counter[int] = Counter()
    for group in sorted(labels, key=lambda name: seeds.derive(seed, "held out", name)):
        if any(have[label] < wanted[label] for label in labels[group]):
            out.add(group)
            have.update(example.label for example in found if example.group == group)
    training = [example for example in found if example.group not in out]
    held_out = [example for example in found if example.group in out]
    for side in (training, held_out):
        if lacking := sorted(set(frames) - {example.label for example in side}):
            raise InputError(
                f"class {lacking[0]} (in the order of names, from 0) has too few videos to hold some out"
                if len(frames) > 1
                else f"{len(labels)} videos with labelled frames are too few to hold some out",
                why="the epoch is chosen by frames of videos that were not trained on",
                remedy="add videos or frames of it, or another `held_out`",
            )
    return training, held_out


def finetune(
    tunable: Tunable,
    tuned: Sequence[str],
    lesson: Lesson,
    output: Path,
    how: FineTune,
    seed: int,
    base: Mapping[str, Any],
) -> Tuned:
    """Train a linear layer on a network's features, and the parts of the network that `tuned` names.

    Adam; normalisation layers keep their statistics. Kept is the epoch with the best score on the frames held out, the
    earliest of equals. The same lesson, settings, machine and threads give the same file, stopped on the way or not.

    Args:
        tunable: the network; its parameters are changed.
        tuned: prefixes of names of parameters to train; none: the linear layer alone.
        lesson: the labelled frames.
        output: the safetensors file to write.
        how: the settings.
        seed: decides the order of frames and which videos are held out.
        base: what is known of the weights and the code that it starts from; part of the metadata.

    Raises:
        InputError: there are too few frames, one cannot be read, or a prefix fits no parameter.
    """
    parameters = dict(tunable.network.named_parameters())
    if idle := [prefix for prefix in tuned if not any(name.startswith(prefix) for name in parameters)]:
        raise InputError(f"no parameter of the network begins with {', '.join(idle)}", where=output)
    found = lesson.examples
    usable = [example for example in found if tunable.prepare(_frame(example), example.name) is not None]
    nothing_in = tuple(sorted({example.name for example in found} - {example.name for example in usable}))
    training, held_out = split(usable, how.held_out, seed)

    work = TuningWork(
        tunable, [name for name in parameters if name.startswith(tuple(tuned))] if tuned else [], lesson, how
    )
    key = digest([lesson.digest, list(tuned), how.model_dump(mode="json"), seed, dict(base), torch.__version__], 64)
    half = output.with_suffix(".half.safetensors")
    work.resume(half, key)
    while len(work.losses) < how.epochs:
        epoch = len(work.losses)
        random = np.random.Generator(np.random.Philox(seeds.derive(seed, "order", epoch)))
        with precision("float32", tunable.device.type):
            loss = work.train([training[index] for index in random.permutation(len(training))])
            work.note(loss, work.score(held_out))
        work.keep(half, key)
        print(f"epoch {epoch + 1} of {how.epochs}: loss {loss:.5f}, held out {work.scores[-1]:.5f}", flush=True)
    result = Tuned(
        names=lesson.names,
        trained=len(training),
        held_out=len(held_out),
        nothing_in=nothing_in,
        losses=tuple(work.losses),
        scores=tuple(work.scores),
        epoch=int(np.argmax(work.scores)),
    )
    arrays.save(
        output,
        work.best,
        {
            "fine_tuned_on": dict(lesson.source),
            "frames_sha256": lesson.digest,
            "held_out_groups": sorted({example.group for example in held_out}),
            "parameters": list(tuned),
            "base": dict(base),
            "settings": how.model_dump(mode="json"),
            "result": asdict(result),
        },
    )
    half.unlink(missing_ok=True)
    tunable.network.requires_grad_(False)
    return result


class TuningWork:
    """A fine-tuning on its way: the network, its linear layer, the optimiser and what the epochs have given."""

    def __init__(self, tunable: Tunable, inner: Sequence[str], lesson: Lesson, how: FineTune) -> None:
        self._tunable, self._inner, self._lesson, self._how = tunable, inner, lesson, how
        tunable.network.eval().requires_grad_(False)
        own = dict(tunable.network.named_parameters())
        for name in inner:
            own[name].requires_grad_(True)
        self._linear = nn.Linear(tunable.width, len(lesson.names)).to(tunable.device)
        nn.init.zeros_(self._linear.weight)
        nn.init.zeros_(self._linear.bias)
        groups: list[dict[str, Any]] = [{"params": list(self._linear.parameters()), "lr": how.learning_rate}]
        if inner:
            groups.append({"params": [own[name] for name in inner], "lr": how.inner_learning_rate})
        self._optimiser = torch.optim.Adam(groups, weight_decay=how.weight_decay)
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best: dict[str, np.ndarray] = {}

    def train(self, ordered: Sequence[TuningExample]) -> float:
        """One epoch; the mean loss of its steps' frames."""
        total = 0.0
        for start in range(0, len(ordered), self._how.batch):
            batch = ordered[start : start + self._how.batch]
            answer, truth = self._answers(batch)
            lesson = functional.mse_loss if self._lesson.regression else functional.cross_entropy
            loss = lesson(answer, truth)
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
            total += float(loss.detach()) * len(batch)
        return total / len(ordered)

    @torch.inference_mode()
    def score(self, held_out: Sequence[TuningExample]) -> float:
        """The share of frames whose class is found, or minus the mean squared error."""
        total = 0.0
        for start in range(0, len(held_out), self._how.batch):
            answer, truth = self._answers(held_out[start : start + self._how.batch])
            if self._lesson.regression:
                total -= float((answer - truth).square().mean(dim=1).sum())
            else:
                total += int((answer.argmax(1) == truth).sum())
        return total / len(held_out)

    def _answers(self, batch: Sequence[TuningExample]) -> tuple[torch.Tensor, torch.Tensor]:
        prepared = [self._tunable.prepare(_frame(example), example.name) for example in batch]
        truth = [example.values if self._lesson.regression else example.label for example in batch]
        kind = torch.float32 if self._lesson.regression else torch.long
        return self._linear(self._tunable.embed(prepared)), torch.tensor(truth, dtype=kind, device=self._tunable.device)

    def note(self, loss: float, score: float) -> None:
        """Take down an epoch, and keep its parameters where it is the best so far."""
        if score > max(self.scores, default=-math.inf):
            self.best = _state(self._tunable.network) | _below("classifier", _state(self._linear))
        self.losses.append(loss)
        self.scores.append(score)

    def keep(self, half: Path, key: str) -> None:
        """Store what the next epoch needs."""
        now = _state(self._tunable.network)
        tensors = _below("best", self.best) | _below("linear", _state(self._linear))
        tensors |= _below("now", {name: now[name] for name in self._inner})
        for number, moments in self._optimiser.state_dict()["state"].items():
            tensors |= _below(f"moments.{number}", {name: value.cpu().numpy() for name, value in moments.items()})
        arrays.save(half, tensors, {"key": key, "losses": self.losses, "scores": self.scores})

    def resume(self, half: Path, key: str) -> None:
        """Take over what an earlier job with the same key has stored, if there is anything."""
        try:
            stored = arrays.load(half)
        except InputError:
            return
        if stored.meta.get("key") != key:
            return
        self.losses, self.scores = list(stored.meta["losses"]), list(stored.meta["scores"])
        self.best = {name: value.copy() for name, value in stored.under("best").items()}
        own = dict(self._tunable.network.named_parameters())
        with torch.no_grad():
            for name, value in stored.under("now").items():
                own[name].copy_(torch.from_numpy(value.copy()))
            for name, value in stored.under("linear").items():
                self._linear.get_parameter(name).copy_(torch.from_numpy(value.copy()))
        state = self._optimiser.state_dict()
        count = sum(len(group["params"]) for group in state["param_groups"])
        moments = [stored.under(f"moments.{number}") for number in range(count)]
        state["state"] = {
            number: {name: torch.from_numpy(value.copy()) for name, value in each.items()}
            for number, each in enumerate(moments)
            if each
        }
        self._optimiser.load_state_dict(state)


def _below(place: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    separator = "." if place == "classifier" else "/"
    return {f"{place}{separator}{name}": value for name, value in values.items()}


def _frame(example: TuningExample) -> np.ndarray:
    if example.path.suffix == ".npy":
        return np.array(np.load(example.path, mmap_mode="r", allow_pickle=False)[example.row])
    try:
        image_CHW = decode_image(str(example.path), mode=ImageReadMode.RGB)
    except RuntimeError as error:
        raise InputError(
            f"not a readable image ({str(error).partition(chr(10))[0]})",
            where=example.path,
            remedy="delete or replace it",
        ) from error
    return image_CHW.permute(1, 2, 0).numpy()


def _state(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}
