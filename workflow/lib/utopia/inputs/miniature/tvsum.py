"""A miniature TVSum: videos with sound, the official MATLAB v7.3 file, and the field's HDF5 file without features.

A user's summary is made of their votes, as in reality: the set of whole shots within 15 % of the video that has the
largest sum of the shots' mean votes. Planted shots are cut further, into pieces of at most two seconds: 15 % of a video
so short would otherwise hold one shot, and every summary would be right or wrong as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from utopia import arrays
from utopia.datasets._card import CardItem
from utopia.files import atomic, write_text
from utopia.inputs.miniature import Size, latent, scene
from utopia.inputs.miniature.files import (
    cut_short,
    field_group,
    overlapping_folds,
    write_expected,
    write_hdf5,
    write_mp4,
)

_SHOT_S = 2
_USERS = 20
_SHARE = 0.15
_CATEGORIES = ("VT", "VU", "GA", "MS", "PK", "PR", "FM", "BK", "BT", "DS")
_USER_BLOCK = 512
_HEADER = b"MATLAB 7.3 MAT-file, generated miniature data HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM"


def write(*, ids: Sequence[str], damaged: str | None, size: Size, seed: int, folder: Path) -> list[Path]:
    """Write the videos `ids`, `Miniature01` and so on; that of `damaged` is cut short. Returns the files."""
    people = latent.recruit(seed, "tvsum", min(_USERS, size.annotators))
    files: list[Path] = []
    groups: dict[str, dict[str, np.ndarray | bytes]] = {}
    truth: dict[str, np.ndarray] = {}
    items: list[CardItem] = []
    table: list[dict[str, np.ndarray | str]] = []
    for number, item in enumerate(ids, start=1):
        key = f"Miniature{number:02d}"
        planted = latent.plant(seed, "tvsum", item, size.seconds, size.fps, ("importance",))
        drives = scene.Drives(*[(planted.signals["importance"] + 1) / 2] * 5)
        video = folder / "video" / f"{key}.mp4"
        pictures = scene.pictures(planted, drives, size.width, size.height, seed, "tvsum", item)
        write_mp4(video, pictures, scene.sound(planted, drives, seed, "tvsum", item), size.fps)
        files.append(cut_short(video) if item == damaged else video)

        votes = _votes(people, planted, seed, item)
        shots = _pieces(planted)
        summary = np.stack([summarised(user, shots) for user in votes])
        groups[item] = field_group(shots, summary, (votes.mean(axis=0) - 1) / 4)
        truth |= {f"{item}/importance": planted.signals["importance"], f"{item}/importance.votes": votes}
        items.append(CardItem(id=item, name=f"Generated video {number}", key=key, fps=size.fps, frames=planted.frames))
        table.append(
            {
                "video": key,
                "category": _CATEGORIES[(number - 1) % len(_CATEGORIES)],
                "title": f"Generated video {number}",
                "length": np.array([[planted.frames / planted.fps]]),
                "nframes": np.array([[float(planted.frames)]]),
                "user_anno": votes.astype(np.float64),
                "gt_score": votes.mean(axis=0, keepdims=True),
            }
        )
    sidecar = folder / "truth.safetensors"
    arrays.save(sidecar, truth, {"dataset": "tvsum", "damaged": damaged, "fps": size.fps})
    whole = [item for item in ids if item != damaged]
    return [
        *files,
        write_hdf5(folder / "tvsum_labels.h5", groups),
        _write_mat(folder / "ydata-tvsum50.mat", table),
        _write_information(folder / "ydata-tvsum50-info.tsv", table),
        sidecar,
        write_expected(folder, "tvsum", items, overlapping_folds(whole, latent.generator(seed, "tvsum", "folds"))),
    ]


def _votes(people: latent.Annotators, planted: latent.PlantedVideo, seed: int, item: str) -> np.ndarray:
    """Whole numbers 1 to 5, constant over two-second shots: [annotators, N] uint8."""
    step = _SHOT_S * planted.fps
    starts = np.arange(0, planted.frames, step)
    signal = np.array([planted.signals["importance"][start : start + step].mean() for start in starts])
    felt = latent.perceive(people, signal, 1 / _SHOT_S, seed, "tvsum", item)
    rated = np.clip(np.rint(2.5 + 2 * felt), 1, 5).astype(np.uint8)
    return np.repeat(rated, step, axis=1)[:, : planted.frames]


def _pieces(planted: latent.PlantedVideo) -> np.ndarray:
    """The planted shots, cut into pieces of at most `_SHOT_S` seconds: [pieces, 2] first and last frame, inclusive."""
    longest = _SHOT_S * planted.fps
    pieces = []
    for first, last in planted.shots:
        count = -(-(last - first + 1) // longest)
        pieces += [(part[0], part[-1]) for part in np.array_split(np.arange(first, last + 1), count)]
    return np.array(pieces, dtype=np.int64)


def summarised(votes: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """A user's summary [frames] uint8 0/1, from votes [frames] and shots [shots, 2]: an exact 0/1 knapsack."""
    lengths = (shots[:, 1] - shots[:, 0] + 1).tolist()
    capacity = int(len(votes) * _SHARE)
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())] * (capacity + 1)
    for shot, length in enumerate(lengths):
        worth = float(votes[shots[shot, 0] : shots[shot, 1] + 1].mean())
        for room in range(capacity, length - 1, -1):
            value, chosen = best[room - length]
            if value + worth > best[room][0]:
                best[room] = (value + worth, (*chosen, shot))
    summary = np.zeros(len(votes), dtype=np.uint8)
    for shot in best[capacity][1]:
        summary[shots[shot, 0] : shots[shot, 1] + 1] = 1
    return summary


def _write_mat(path: Path, table: Sequence[Mapping[str, np.ndarray | str]]) -> Path:
    """A struct array: per field a column of references into `#refs#`."""
    with atomic(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=_USER_BLOCK) as file:
            references = file.create_group("#refs#")
            struct = file.create_group("tvsum50")
            struct.attrs["MATLAB_class"] = np.bytes_("struct")
            for name in table[0]:
                column = struct.create_dataset(name, (len(table), 1), dtype=h5py.ref_dtype, track_times=False)
                for row, entry in enumerate(table):
                    target = _write_value(references, f"{name}_{row}", entry[name])
                    column[row, 0] = target.ref
        with temporary.open("rb+") as raw:
            raw.write(_HEADER)
    return path


def _write_value(group: h5py.Group, name: str, value: np.ndarray | str) -> h5py.Dataset:
    if isinstance(value, str):
        codes = np.array([[ord(character)] for character in value], dtype=np.uint16)
        dataset = group.create_dataset(name, data=codes, track_times=False)
        dataset.attrs["MATLAB_class"] = np.bytes_("char")
        dataset.attrs["MATLAB_int_decode"] = np.int32(2)
        return dataset
    compression = "gzip" if value.size > 1 else None
    dataset = group.create_dataset(name, data=value, compression=compression, track_times=False)
    dataset.attrs["MATLAB_class"] = np.bytes_("double")
    return dataset


def _write_information(path: Path, table: Sequence[Mapping[str, np.ndarray | str]]) -> Path:
    lines = ["category\tvideo_id\ttitle\turl\tlength"]
    for entry in table:
        seconds = int(np.asarray(entry["length"]).item())
        lines.append(f"{entry['category']}\t{entry['video']}\t{entry['title']}\t\t{seconds // 60}:{seconds % 60:02d}")
    write_text(path, "\n".join(lines) + "\n")
    return path
