"""Which decoder reads the pictures of a video: PyAV, or torchcodec, which can use a GPU's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from utopia.media import container
from utopia.media.frames import Sample, counted, timeline_of
from utopia.media.worker import sample_frames


@dataclass(frozen=True)
class Decoder:
    """A choice of decoder."""

    name: Literal["av", "torchcodec"] = "av"
    device: str = "cpu"
    """Where torchcodec decodes: "cpu" or "cuda"."""

    def facts(self) -> dict[str, str]:
        """Name, versions and device: what determines the pictures.

        Raises:
            ConfigError: it is not installed, or there is no such device.
        """
        if self.name == "av":
            return container.decoder()
        from utopia.media import hardware

        return hardware.facts(self.device)

    def sample(
        self, path: Path, *, fps: float | None, every: int | None, told: Callable[[str], None] = lambda _: None
    ) -> Iterator[Sample]:
        """Sample a video as `frames.sample_frames` does.

        Args:
            told: is called with the reason where another decoder than this one decodes the video, or a part of it.

        Raises:
            InputError: as `sample_frames`.
        """
        if self.name == "av":
            yield from sample_frames(path, fps=fps, every=every)
            return
        from utopia.media import hardware

        times, _ = timeline_of(path)
        done = 0
        try:
            for sample in counted(
                path,
                hardware.sample(path, times, fps=fps, every=every, device=self.device, told=told),
                times,
                fps,
                every,
            ):
                done += 1
                yield sample
        except hardware.Unsuited as error:
            since = f" from sample {done} on" if done else ""
            told(f"decoded by PyAV{since}, because torchcodec cannot: {error}")
            yield from islice(sample_frames(path, fps=fps, every=every), done, None)
