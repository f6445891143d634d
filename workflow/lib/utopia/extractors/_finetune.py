"""Fine-tuning a network of this folder on labelled frames: what ULDA says was done to OpenPose and to Xception.

[U] The data, the layers that were trained and the settings are undocumented. An extractor file that can be fine-tuned
has `TUNED`, prefixes of the parameters to train, and `tunable(...)`, its network. The result is a safetensors file with
the parameters, those of the classifier under `classifier.`, and in its metadata what it was trained on:

    network = openpose_action.tunable(openpose_action.Config(), Path("body_pose_model.pth"), seed=0, device="auto")
    finetune(network, openpose_action.TUNED, Path("frames"), Path("<data>/weights/openpose_action.safetensors"))
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
from utopia.errors import InputError
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


@dataclass(frozen=True)
class Manner:
    """How to train. [U] None of it is documented."""

    epochs: int = 20
    batch: int = 16
    learning_rate: float = 1e-3
    """Of the classifier, with Adam."""
    inner_learning_rate: float = 1e-4
    """Of the network's own parameters."""
    weight_decay: float = 1e-4
    held_out: float = 0.2
    """Share of each class's frames on which the epoch is chosen."""
    seed: int = 0


@dataclass(frozen=True)
class Example:
    """A labelled frame."""

    path: Path
    name: str
    """Relative to the folder."""
    label: int
    group: str
    """Frames of one group (a video) are held out together."""


@dataclass(frozen=True)
class Tuned:
    """What came of it."""

    classes: tuple[str, ...]
    trained: int
    held_out: int
    nothing_in: tuple[str, ...]
    """Names of frames that there was nothing to learn from."""
    losses: tuple[float, ...]
    """Cross-entropy on the frames trained on, by epoch."""
    accuracies: tuple[float, ...]
    """On the frames held out, by epoch."""
    epoch: int
    """The best on these, from 0; the parameters are those after it."""


def examples(folder: Path) -> tuple[tuple[str, ...], list[Example]]:
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
        found.append(Example(path, "/".join(names), classes.index(names[0]), group))
    return classes, found


def split(found: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
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
                f"class {lacking[0]} (in the order of names, from 0) has too few videos to hold some out",
                why="the epoch is chosen by frames of videos that were not trained on",
                remedy="add videos or frames of it, or another `held_out` or `seed`",
            )
    return training, held_out


def finetune(
    tunable: Tunable,
    tuned: Sequence[str],
    folder: Path,
    output: Path,
    manner: Manner | None = None,
    base: Mapping[str, Any] | None = None,
) -> Tuned:
    """Train a linear classifier on a network's features, and the parts of the network that `tuned` names.

    Cross-entropy; normalisation layers keep their statistics. Kept is the epoch that is most often right on the frames
    held out, the earliest of equals. The same frames, settings, machine and threads give the same file.

    Args:
        tunable: the network; its parameters are changed.
        tuned: prefixes of names of parameters to train; none: the classifier alone.
        folder: see `examples`.
        output: the safetensors file to write.
        base: what is known of the weights that it starts from, for the metadata.

    Raises:
        InputError: the folder does not hold enough, a frame cannot be read, or a prefix fits no parameter.
    """
    manner = manner or Manner()
    classes, found = examples(folder)
    parameters = dict(tunable.network.named_parameters())
    if idle := [prefix for prefix in tuned if not any(name.startswith(prefix) for name in parameters)]:
        raise InputError(f"no parameter of the network begins with {', '.join(idle)}", where=output)
    usable = [example for example in found if tunable.prepare(_frame(example), example.name) is not None]
    nothing_in = tuple(sorted({example.name for example in found} - {example.name for example in usable}))
    training, held_out = split(usable, manner.held_out, manner.seed)

    inner = [value for name, value in parameters.items() if name.startswith(tuple(tuned))] if tuned else []
    tunable.network.eval().requires_grad_(False)
    for value in inner:
        value.requires_grad_(True)
    classifier = nn.Linear(tunable.width, len(classes)).to(tunable.device)
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    optimiser = torch.optim.Adam(
        [
            {"params": classifier.parameters(), "lr": manner.learning_rate},
            *([{"params": inner, "lr": manner.inner_learning_rate}] if inner else []),
        ],
        weight_decay=manner.weight_decay,
    )
    losses: list[float] = []
    accuracies: list[float] = []
    best: dict[str, np.ndarray] = {}
    for epoch in range(manner.epochs):
        losses.append(_trained(tunable, classifier, optimiser, training, manner, epoch))
        accuracies.append(_right(tunable, classifier, held_out, manner.batch))
        if accuracies[-1] > max(accuracies[:-1], default=-math.inf):
            best = _state(tunable.network) | {f"classifier.{k}": v for k, v in _state(classifier).items()}
    for value in inner:
        value.requires_grad_(False)
    result = Tuned(
        classes=classes,
        trained=len(training),
        held_out=len(held_out),
        nothing_in=nothing_in,
        losses=tuple(losses),
        accuracies=tuple(accuracies),
        epoch=int(np.argmax(accuracies)),
    )
    held_groups = sorted({example.group for example in held_out})
    listing = [(example.name, sha256(example.path)) for example in found]
    arrays.save(
        output,
        best,
        {
            "fine_tuned_on": {"folder": folder.name, "frames": dict(Counter(classes[e.label] for e in found))},
            "frames_sha256": digest(listing, 64),
            "held_out_groups": held_groups,
            "parameters": list(tuned),
            "base": dict(base or {}),
            "manner": asdict(manner),
            "result": asdict(result),
        },
    )
    return result


def _frame(example: Example) -> np.ndarray:
    try:
        image_CHW = decode_image(str(example.path), mode=ImageReadMode.RGB)
    except RuntimeError as error:
        raise InputError(
            f"not a readable image ({str(error).partition(chr(10))[0]})",
            where=example.path,
            remedy="delete or replace it",
        ) from error
    return image_CHW.permute(1, 2, 0).numpy()


def _prepared(tunable: Tunable, batch: Sequence[Example]) -> tuple[list[Any], torch.Tensor]:
    labels = torch.tensor([example.label for example in batch], device=tunable.device)
    return [tunable.prepare(_frame(example), example.name) for example in batch], labels


def _trained(
    tunable: Tunable,
    classifier: nn.Linear,
    optimiser: torch.optim.Optimizer,
    training: Sequence[Example],
    manner: Manner,
    epoch: int,
) -> float:
    """One epoch; the mean loss of its steps' frames."""
    random = np.random.Generator(np.random.Philox(seeds.derive(manner.seed, "order", epoch)))
    order = random.permutation(len(training))
    total = 0.0
    for start in range(0, len(order), manner.batch):
        batch, labels = _prepared(tunable, [training[index] for index in order[start : start + manner.batch]])
        loss = functional.cross_entropy(classifier(tunable.embed(batch)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += float(loss.detach()) * len(labels)
    return total / len(training)


@torch.inference_mode()
def _right(tunable: Tunable, classifier: nn.Linear, held_out: Sequence[Example], size: int) -> float:
    """The share of frames whose class is found."""
    right = 0
    for start in range(0, len(held_out), size):
        batch, labels = _prepared(tunable, held_out[start : start + size])
        right += int((classifier(tunable.embed(batch)).argmax(1) == labels).sum())
    return right / len(held_out)


def _state(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}
