"""From decoded frames and sound to rows: which frames share a call of the network, and whose row is whose.

Which frames share a call decides the last bits of a row. So by default a batch is a function of the video alone: it
holds frames of one video, in order, and ends with it. Rows then depend neither on the shard, nor on the number of
threads, nor on what was extracted before a job was killed. Batches across videos (`compute.across_videos`) fill a GPU
better where videos are short, and give these properties up to the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BATCH_BYTES = 256 << 20
"""Most bytes of frames in a batch: of 8K video, two."""

Call = Callable[[Sequence[np.ndarray]], np.ndarray]


class Batches:
    """Frames that wait for a call of the network.

    Args:
        call: from frames to rows [N, width].
        size: frames per call.
    """

    def __init__(self, call: Call, size: int) -> None:
        self._call, self._size = call, size
        self._frames: list[np.ndarray] = []
        self._rows: list[list[np.ndarray]] = []
        self._bytes = 0

    def add(self, frame: np.ndarray, rows: list[np.ndarray]) -> None:
        """Take a frame uint8 [height, width, 3]; its row is appended to `rows` when its batch is full."""
        if self._frames and self._bytes + frame.nbytes > BATCH_BYTES:
            self.flush()
        self._frames.append(frame)
        self._rows.append(rows)
        self._bytes += frame.nbytes
        if len(self._frames) >= self._size:
            self.flush()

    def flush(self) -> None:
        """Call the network on what waits."""
        if not self._frames:
            return
        for row, rows in zip(self._call(self._frames), self._rows, strict=True):
            rows.append(row)
        self._frames, self._rows, self._bytes = [], [], 0


class FrameRows:
    """The rows of one video and one network, as its samples come.

    A picture that is on screen at several sample times in a row (a slide show, a rate below that of the samples) is
    seen by the network once.
    """

    def __init__(self, batches: Batches, shared: bool) -> None:
        self._batches, self._shared = batches, shared
        self._rows: list[np.ndarray] = []
        self._pictures = 0
        self._picture_of: list[int] = []
        self._times: list[float] = []
        self._last: np.ndarray | None = None

    def feed(self, time_s: float, frame: np.ndarray) -> None:
        """Take the sample at a time."""
        if frame is not self._last:
            self._pictures += 1
            self._last = frame
            self._batches.add(frame, self._rows)
        self._picture_of.append(self._pictures - 1)
        self._times.append(time_s)

    def end(self) -> None:
        """The video is over."""
        self._last = None
        if not self._shared:
            self._batches.flush()

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return len(self._rows) == self._pictures

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 [N, width] and times float64 [N]."""
        if not self._rows:
            return np.empty((0, 0), np.float32), np.empty(0)
        return np.stack(self._rows)[self._picture_of], np.array(self._times, np.float64)


class SoundRows:
    """The rows of one sound and one network; a network that cannot hear piece by piece gets the whole at the end."""

    def __init__(self, network: Any, call: Callable[..., Any]) -> None:
        self._network, self._call = network, call
        self._listening = network.listen() if hasattr(network, "listen") else None
        self._pieces: list[np.ndarray] = []
        self._result: tuple[np.ndarray, np.ndarray] | None = None

    def feed(self, piece: np.ndarray) -> None:
        """Take the next piece of the sound."""
        if self._listening is None:
            self._pieces.append(piece)
        else:
            self._call(self._listening.feed, piece)

    def end(self) -> None:
        """The sound is over."""
        if self._listening is None:
            sound, self._pieces = np.concatenate(self._pieces, axis=-1), []
            self._result = self._call(self._network, sound)
        else:
            self._result = self._call(self._listening.end)

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return self._result is not None

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 [N, width] and start times float64 [N]."""
        assert self._result is not None, "the sound is not over"
        return self._result
