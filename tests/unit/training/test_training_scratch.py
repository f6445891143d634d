"""Data that a training does not hold in memory: the same bytes, and memory that does not grow with the videos."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_toy import make_clip_toy
from frame_toy import Toy

from utopia.errors import UtopiaError
from utopia.training import scratch
from utopia.training.scratch import Scratch

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
LIMITS = {"scratch.IN_MEMORY": 4 << 20, "series.DIAGNOSED": 1024}
SOME = [np.arange(6.0).reshape(2, 3), np.zeros((0, 3)), np.ones((4, 3), np.float32), np.array([1, 2], np.int64)]


@pytest.mark.parametrize("limit", [1 << 20, 60, 0])
def test_what_is_written_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """All in memory, some, none; nothing of it is seen in the folder."""
    monkeypatch.setattr(scratch, "IN_MEMORY", limit)
    kept = Scratch(tmp_path / "run")
    for values in SOME:
        kept.add(values)
    for values, again in zip(SOME, kept.arrays(), strict=True):
        assert values.dtype == again.dtype and values.shape == again.shape and np.array_equal(values, again)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    packed = Scratch(None, packed=True)
    for values in SOME[:2] * 3:
        packed.add(values)
    assert np.array_equal(packed.rows(), np.concatenate(SOME[:2] * 3))
    assert Scratch(None).arrays() == []


def test_a_full_disk_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UtopiaError, match="reads in passes") as raised:
        Scratch(tmp_path / "file" / "run").add(np.ones(3))
    assert "larger disk" in raised.value.remedy


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


@pytest.mark.parametrize(
    "how",
    [
        {"loss": "cwl", "sampler": "tns"},
        {"workers": 2},
        {"training": {"batching": "accumulate_all"}},
        {"engine": {"strategy": "vectorized", "places": 2}},
    ],
)
def test_series_in_a_file_give_the_same_bytes(toy: Toy, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]) -> None:
    toy.train("memory", **how)
    monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    toy.train("file", **how)
    assert contents(toy.root / "file") == contents(toy.root / "memory") and len(contents(toy.root / "file")) == 5


@pytest.mark.parametrize("strategy", ["sequential", "vectorized"])
def test_clips_in_a_file_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    toy = make_clip_toy(tmp_path)
    how: dict[str, Any] = {"members": 2, "fit_on_all": 1, "engine": {"strategy": strategy, "places": 2}}
    toy.train("memory", **how)
    monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    toy.train("file", **how)
    assert contents(tmp_path / "file") == contents(tmp_path / "memory") and len(contents(tmp_path / "file")) == 5


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the kernel does not say how memory is used")
@pytest.mark.parametrize("model", ["et", "bi_gru", "rmn"])
def test_memory_does_not_grow_with_the_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """Four times the videos, 71 MB more of features: not a quarter of that more in memory (it was 2.3 times that).

    RMN is diagnosed on its test videos too, so half of them are.
    """
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    memory = importlib.import_module("memory")
    monkeypatch.setattr(memory, "SECONDS", 240)
    sizes, added = [], []
    for videos in (24, 96):
        folder = tmp_path / str(videos)
        tested = videos // 2 if model == "rmn" else 4
        sizes.append(memory.generated(folder, videos, model == "bi_gru", tested=tested))
        added.append(memory.trained(folder, model, folder / "run", limits=LIMITS)["added_bytes"])
    assert sizes[1] - sizes[0] > 70e6
    assert added[1] - added[0] < (sizes[1] - sizes[0]) / 4, (sizes, added)
