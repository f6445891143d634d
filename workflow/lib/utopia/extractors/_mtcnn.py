"""MTCNN face detection (Zhang et al. 2016): three networks of growing size look at ever fewer places of a frame.

Parameters and conventions (input order, boxes that count pixels from 1, thresholds) are those of the public PyTorch
conversion whose weights it reads; on the same frames it gives the same boxes.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import batched_nms

from utopia import seeds
from utopia.errors import ChecksumError, InputError
from utopia.extractors._common import assign, draw

THRESHOLDS = (0.6, 0.7, 0.7)
FACTOR = 0.709
CELL, STRIDE = 12, 2
MEMBERS = {
    "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}
"""The networks and the sha256 of their published files, `facenet_pytorch/data/<name>.pt` in the archive of the card."""
_CROPS = 512  # per call, so that memory does not grow with the number of candidates


class PNet(nn.Module):
    """The proposal network, fully convolutional: a cell of 12 by 12 pixels every 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probability of a face [N, h, w] and correction of the box [N, 4, h, w] in each cell."""
        x_NCHW = functional.max_pool2d(self.prelu1(self.conv1(x_NCHW)), 2, 2, ceil_mode=True)
        x_NCHW = self.prelu3(self.conv3(self.prelu2(self.conv2(x_NCHW))))
        return self.conv4_1(x_NCHW).softmax(1)[:, 1], self.conv4_2(x_NCHW)


class RNet(nn.Module):
    """The refining network, on candidates of 24 by 24 pixels."""

    size = 24

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probability of a face [N] and correction of the box [N, 4]."""
        x_NCHW = functional.max_pool2d(self.prelu1(self.conv1(x_NCHW)), 3, 2, ceil_mode=True)
        x_NCHW = functional.max_pool2d(self.prelu2(self.conv2(x_NCHW)), 3, 2, ceil_mode=True)
        x_NCHW = self.prelu3(self.conv3(x_NCHW))
        x_ND = self.prelu4(self.dense4(_flat(x_NCHW)))
        return self.dense5_1(x_ND).softmax(1)[:, 1], self.dense5_2(x_ND)


class ONet(nn.Module):
    """The output network, on candidates of 48 by 48 pixels. Its five landmarks have no use here."""

    size = 48

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, x_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probability of a face [N] and correction of the box [N, 4]."""
        x_NCHW = functional.max_pool2d(self.prelu1(self.conv1(x_NCHW)), 3, 2, ceil_mode=True)
        x_NCHW = functional.max_pool2d(self.prelu2(self.conv2(x_NCHW)), 3, 2, ceil_mode=True)
        x_NCHW = functional.max_pool2d(self.prelu3(self.conv3(x_NCHW)), 2, 2, ceil_mode=True)
        x_ND = self.prelu5(self.dense5(_flat(self.prelu4(self.conv4(x_NCHW)))))
        return self.dense6_1(x_ND).softmax(1)[:, 1], self.dense6_2(x_ND)


def _flat(x_NCHW: torch.Tensor) -> torch.Tensor:
    """Columns, rows, channels: the order of axes in which the dense layers were trained."""
    return x_NCHW.permute(0, 3, 2, 1).flatten(1)


@dataclass(frozen=True)
class Faces:
    """The faces of a frame, the largest first."""

    boxes: torch.Tensor
    """[faces, 4] left, top, right, bottom in pixels; may reach beyond the frame."""
    probabilities: torch.Tensor
    """[faces]."""


class MTCNN(nn.Module):
    """The three networks and the cascade."""

    def __init__(self, smallest: int = 20, thresholds: tuple[float, float, float] = THRESHOLDS) -> None:
        super().__init__()
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()
        self._smallest, self._thresholds = smallest, thresholds

    @torch.inference_mode()
    def forward(self, frames_NCHW: torch.Tensor) -> list[Faces]:
        """The faces in each of some frames of one size, RGB [N, 3, H, W] from 0 to 255."""
        frames_NCHW = frames_NCHW.float()
        boxes, frame = self._proposed(frames_NCHW)
        boxes, scores, shifts, frame = _judged(frames_NCHW, boxes, frame, self.rnet, self._thresholds[1])
        kept = batched_nms(boxes, scores, frame, 0.7)
        boxes, frame = squared(corrected(boxes[kept], shifts[kept])), frame[kept]
        boxes, scores, shifts, frame = _judged(frames_NCHW, boxes, frame, self.onet, self._thresholds[2])
        boxes = corrected(boxes, shifts)
        found = []
        for index in range(len(frames_NCHW)):
            own, own_scores = boxes[frame == index], scores[frame == index]
            kept = suppressed(own, own_scores, 0.7)
            own, own_scores = own[kept], own_scores[kept]
            areas = (own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1])
            order = areas.argsort(descending=True, stable=True)
            found.append(Faces(own[order], own_scores[order]))
        return found

    def _proposed(self, frames_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Candidate squares [K, 4] and the frame of each [K]."""
        height, width = frames_NCHW.shape[2:]
        found: list[tuple[torch.Tensor, ...]] = []
        for scale in pyramid(height, width, self._smallest):
            probability, shift = self.pnet(_input(frames_NCHW, (int(height * scale + 1), int(width * scale + 1))))
            frame, row, column = (probability >= self._thresholds[0]).nonzero(as_tuple=True)
            scores, shifts = probability[frame, row, column], shift[frame, :, row, column]
            boxes = cells(row, column, scale)
            kept = batched_nms(boxes, scores, frame, 0.5)
            found.append((boxes[kept], scores[kept], shifts[kept], frame[kept]))
        if not found:
            return frames_NCHW.new_zeros(0, 4), torch.zeros(0, dtype=torch.long, device=frames_NCHW.device)
        boxes, scores, shifts, frame = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept = batched_nms(boxes, scores, frame, 0.7)
        boxes, shifts = boxes[kept], shifts[kept]
        sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)  # not one pixel more, as in the later stages
        return squared(boxes + shifts * sides), frame[kept]


def pyramid(height: int, width: int, smallest: int) -> list[float]:
    """Scales at which a frame is searched: a face of `smallest` pixels fills a cell, then ever larger ones do."""
    scale = CELL / smallest
    side = min(height, width) * scale
    scales = []
    while side >= CELL:
        scales.append(scale)
        scale, side = scale * FACTOR, side * FACTOR
    return scales


def cells(row: torch.Tensor, column: torch.Tensor, scale: float) -> torch.Tensor:
    """Boxes [K, 4] in the frame of cells of the proposal network's map."""
    corner = STRIDE * torch.stack([column, row], dim=1).float()
    return torch.cat([((corner + 1) / scale).floor(), ((corner + CELL) / scale).floor()], dim=1)


def squared(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes [K, 4] grown to squares about their centres."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.amax(1, keepdim=True)
    corner = boxes[:, :2] + sides * 0.5 - longest * 0.5
    return torch.cat([corner, corner + longest], dim=1)


def corrected(boxes: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Boxes [K, 4] moved by `shifts` [K, 4], in parts of their sides (both border pixels counted)."""
    sides = (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)
    return boxes + shifts * sides


def suppressed(boxes: torch.Tensor, scores: torch.Tensor, most: float) -> list[int]:
    """Which of a frame's boxes stay, best first: a box goes that shares more than `most` of the smaller one's area."""
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1)
    order = scores.argsort(descending=True, stable=True)
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low, high = torch.maximum(boxes[best, :2], boxes[rest, :2]), torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low + 1).clamp(min=0).prod(1)
        order = rest[shared / torch.minimum(areas[best], areas[rest]) <= most]
    return kept


def _judged(
    frames_NCHW: torch.Tensor, boxes: torch.Tensor, frame: torch.Tensor, network: RNet | ONet, threshold: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The boxes that a network takes for faces, with their scores, corrections and frames."""
    height, width = frames_NCHW.shape[2:]
    whole = boxes.trunc().long()
    left, top = (whole[:, :2].clamp(min=1) - 1).unbind(1)  # boxes count pixels from 1
    right, bottom = whole[:, 2].clamp(max=width), whole[:, 3].clamp(max=height)
    seen = (right > left) & (bottom > top)
    boxes, frame = boxes[seen], frame[seen]
    places = torch.stack([frame, top[seen], bottom[seen], left[seen], right[seen]], dim=1).tolist()
    scores, shifts = [boxes.new_zeros(0)], [boxes.new_zeros(0, 4)]
    for start in range(0, len(places), _CROPS):
        crops = [
            _input(frames_NCHW[index : index + 1, :, y0:y1, x0:x1], (network.size, network.size))
            for index, y0, y1, x0, x1 in places[start : start + _CROPS]
        ]
        score, shift = network(torch.cat(crops))
        scores.append(score)
        shifts.append(shift)
    score, shift = torch.cat(scores), torch.cat(shifts)
    taken = score > threshold
    return boxes[taken], score[taken], shift[taken], frame[taken]


def _input(x_NCHW: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Images [N, 3, H, W] at another size by averaging areas, about -1 to 1."""
    return (functional.adaptive_avg_pool2d(x_NCHW, size) - 127.5) / 128


def mtcnn(weights_path: Path | None, seed: int, smallest: int, members: Mapping[str, str] = MEMBERS) -> MTCNN:
    """The detector in evaluation mode.

    Args:
        weights_path: the archive of its card; None draws parameters from `seed`.
        smallest: the smallest face to look for, in pixels.
        members: sha256 of the three files.

    Raises:
        InputError: the archive cannot be read, lacks a file, or a file does not fit.
        ChecksumError: a file is not the published one.
    """
    detector = MTCNN(smallest)
    if weights_path is None:
        for name in members:
            draw(getattr(detector, name), seeds.derive(seed, name))
    else:
        for name, state in _members(weights_path, members).items():
            assign(getattr(detector, name), state, weights_path)
    return detector.eval().requires_grad_(False)


def _members(archive: Path, members: Mapping[str, str]) -> dict[str, dict[str, torch.Tensor]]:
    """The state dicts in the archive, read in place: nothing is unpacked, and no code in it is run."""
    remedy = "get the archive from the address on its card"
    states = {}
    try:
        with zipfile.ZipFile(archive) as opened:
            contents = {name: opened.read(f"facenet_pytorch/data/{name}.pt") for name in members}
    except (zipfile.BadZipFile, KeyError, OSError, RuntimeError, EOFError) as error:
        raise InputError(
            f"the face detector's weights are not in it ({str(error) or type(error).__name__})",
            where=archive,
            remedy=remedy,
        ) from error
    for name, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        if digest != members[name]:
            raise ChecksumError(
                f"{name}.pt in it has the sha256 {digest}, not {members[name]}", where=archive, remedy=remedy
            )
        try:
            states[name] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
            raise InputError(f"{name}.pt in it is not a readable state dict", where=archive, remedy=remedy) from error
    return states


def largest(found: Sequence[Faces]) -> list[torch.Tensor | None]:
    """The box [4] of each frame's largest face, None where there is none."""
    return [faces.boxes[0] if len(faces.boxes) else None for faces in found]
