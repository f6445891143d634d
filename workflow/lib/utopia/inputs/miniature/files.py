"""Writing the miniature's files so that equal content gives equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np

from utopia.datasets._card import CardFold, CardItem, Expected
from utopia.datasets._common import EXPECTED
from utopia.datasets._summary import STEP
from utopia.files import atomic, write_json
from utopia.inputs.miniature.scene import SAMPLE_RATE

_HEADER = b"MATLAB 5.0 MAT-file, generated miniature data".ljust(116)
"""The first 116 bytes of a MATLAB v5 file are free text, where writers put the date."""


def write_mp4(path: Path, pictures: np.ndarray, sound: np.ndarray, fps: int) -> Path:
    """Write an mp4 of H.264 video and AAC sound.

    Args:
        pictures: [N, height, width, 3] uint8 RGB.
        sound: [samples] float32 at `SAMPLE_RATE`.
    """
    height, width = pictures.shape[1:3]
    with (
        atomic(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"fflags": "+bitexact"}) as container,
    ):
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        # One thread: with more, the encoder's decisions may depend on timing.
        video.codec_context.thread_count = 1
        video.codec_context.options = {"preset": "ultrafast", "crf": "23", "g": str(2 * fps), "threads": "1"}
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.codec_context.options = {"flags": "+bitexact", "aac_coder": "fast"}
        audio.bit_rate = 32_000
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        _encode(container, audio, sound, 1024)
    return path


def write_mp3(path: Path, sound: np.ndarray) -> Path:
    """Write an mp3 (LAME, constant bit rate, with the header that tells its length) of sound [samples] float32."""
    with (
        atomic(path) as temporary,
        av.open(str(temporary), "w", format="mp3", options={"fflags": "+bitexact"}) as container,
    ):
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono")
        stream.codec_context.options = {"flags": "+bitexact", "compression_level": "7"}
        stream.bit_rate = 48_000
        _encode(container, stream, sound, stream.codec_context.frame_size or 576)
    return path


def _encode(container: Any, stream: Any, sound: np.ndarray, block: int) -> None:
    """Encode the whole sound into a stream, `block` samples per frame."""
    for start in range(0, len(sound), block):
        frame = av.AudioFrame.from_ndarray(sound[None, start : start + block], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def cut_short(path: Path) -> Path:
    """Keep the first three fifths of a file, as a broken download does.

    An mp4 then lacks its index, an mp3 the length that its header declares.
    """
    content = path.read_bytes()
    with atomic(path) as temporary:
        temporary.write_bytes(content[: len(content) * 3 // 5])
    return path


def write_mat(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a MATLAB v5 file with a header that tells no date."""
    from scipy.io import savemat

    with atomic(path) as temporary:
        savemat(temporary, dict(content), do_compression=True)
        with temporary.open("rb+") as file:
            file.write(_HEADER)
    return path


def write_hdf5(path: Path, groups: Mapping[str, Mapping[str, np.ndarray | bytes]]) -> Path:
    """Write a group per video, as `field_group` makes it."""
    with atomic(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        for item, arrays_of_item in groups.items():
            group = file.create_group(item)
            for name, values in arrays_of_item.items():
                compression = "gzip" if isinstance(values, np.ndarray) and values.ndim == 2 else None
                group.create_dataset(name, data=values, compression=compression, track_times=False)
    return path


def field_group(shots: np.ndarray, summary: np.ndarray, score: np.ndarray) -> dict[str, np.ndarray | bytes]:
    """A video's group in the summarisation field's layout.

    Args:
        shots: [shots, 2] first and last frame, inclusive.
        summary: [users, frames] 0/1.
        score: [frames]; the label grid takes every 15th.
    """
    picks = np.arange(0, summary.shape[1], STEP, dtype=np.int64)
    return {
        "change_points": shots,
        "n_frame_per_seg": shots[:, 1] - shots[:, 0] + 1,
        "n_frames": np.array(summary.shape[1], dtype=np.int64),
        "n_steps": np.array(len(picks), dtype=np.int64),
        "picks": picks,
        "gtscore": score[picks].astype(np.float32),
        "user_summary": summary,
    }


def write_expected(folder: Path, dataset: str, items: Sequence[CardItem], folds: Mapping[str, Sequence[str]]) -> Path:
    """Write the list of items and the folds (name -> test ids) of a generated folder."""
    expected = Expected(
        dataset=dataset,
        generated_by="the miniature study",
        items=list(items),
        folds=[CardFold(name=name, test=list(test)) for name, test in folds.items()],
    )
    path = folder / EXPECTED
    write_json(path, expected.model_dump(mode="json"))
    return path


def overlapping_folds(ids: Sequence[str], rng: np.random.Generator, count: int = 5) -> dict[str, list[str]]:
    """Folds like the published ones: random test sets of a fifth (at least two), which overlap; order as in `ids`."""
    size = max(2, round(len(ids) / count))
    folds = {}
    for fold in range(count):
        chosen = set(rng.choice(len(ids), size, replace=False).tolist())
        folds[f"split_{fold}"] = [item for index, item in enumerate(ids) if index in chosen]
    return folds
