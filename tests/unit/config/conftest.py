"""A small study in files of its own, to be broken by tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from utopia.config import registry
from utopia.config.load import load
from utopia.config.study import StudyBase

_DATASET = """\
  {name}:
    folder: {name}
    features: [[pool5], [frames]]
    distribution: {{bins: 10, low: 0.0, high: 1.0, delta: 0.3, sigma: 0.1}}
"""


class Files:
    """config.yaml and overlays in a folder; `change` edits the text, `fails` gives the message of the refusal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.studies = folder / "studies"
        self.studies.mkdir()
        (self.studies / "small.yaml").write_text("seed: 11\n")
        (self.studies / "other.yaml").write_text("seed: 12\n")
        self.config.write_text(
            "study: small\nseed: 10\n\ndatasets:\n"
            # `change` edits the first: LIRIS is the one that tests name.
            + "".join(_DATASET.format(name=name) for name in sorted(registry.names("datasets"), key="liris".__ne__))
            + "features:\n"
            + "  pool5: {extractor: hdf5, files: [a.h5]}\n"
            + "  frames:\n    extractor: googlenet\n    options:\n      fps: 1.0\n"
            + "treatments:\n  baseline:\n    loss: mse\n  both:\n    loss: cwl\n    sampler: tns\n"
        )

    def change(self, old: str, new: str) -> Files:
        """Replace the first `old` in config.yaml."""
        text = self.config.read_text()
        assert old in text, f"{old!r} is not in the test's configuration"
        self.config.write_text(text.replace(old, new, 1))
        return self

    def line(self, needle: str, file: Path | None = None) -> int:
        """The 1-based line of the first line that holds `needle`."""
        lines = (file or self.config).read_text().splitlines()
        return next(number for number, text in enumerate(lines, 1) if needle in text)

    def at(self, needle: str) -> str:
        """`file:line` of `needle` in config.yaml."""
        return f"{self.config}:{self.line(needle)}"

    def load(self, **more: Any) -> StudyBase:
        """Load the study."""
        return load(config=self.config, studies=self.studies, **more)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The small study."""
    return Files(tmp_path)


@pytest.fixture
def refused() -> Callable[..., str]:
    """Load a broken study and give the message."""
    from utopia.errors import ConfigError

    def message(files: Files, above: Sequence[Path] = (), **more: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            files.load(files=above, **more)
        assert caught.value.exit_code == 2
        return str(caught.value)

    return message
