"""Whole trainings on a device with the rules of a GPU: nothing stays in main memory, and the numbers are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clip_toy import make_clip_toy
from frame_toy import make_toy
from pretend_gpu import DEVICE, Generator, pretend

from utopia import arrays
from utopia.config import registry
from utopia.samplers import c_mixup
from utopia.training import chunks
from utopia.training import run as engine

MODELS: dict[str, dict[str, Any]] = {
    "et": {"slices": {"enabled": True, "units": 4, "slice": 4}},
    "pgl_sum": {"d_model": 16, "heads": 2, "segment_heads": 2},
    "rmn": {"d_model": 8, "units": 4, "rows": 3, "roll": 4, "clip_s": 2, "rewrite_every": 4, "together": 2},
}
OF_CLIPS = [name for name in registry.names("losses") if name in ("l1", "l1_kl", "kl", "ccc")]
OF_FRAMES = [name for name in registry.names("losses") if name not in OF_CLIPS]
BOTH = pytest.mark.parametrize("strategy", ["sequential", "vectorized"])


def compare(toy: Any, monkeypatch: pytest.MonkeyPatch, tolerance: float = 0, **changes: Any) -> None:
    """Train on the CPU, then on the device: the same predictions."""
    on_cpu, _, _ = toy.train("cpu", **changes)
    with pretend(monkeypatch) as device:
        monkeypatch.setattr(engine, "prepare", lambda run: device)
        on_device, _, made = toy.train("device", **changes)
        arrays.load(made[0])
    assert set(on_cpu) == set(on_device) and len(on_cpu) > 0
    for name in on_cpu:
        assert np.allclose(on_cpu[name], on_device[name], rtol=0, atol=tolerance), name


def small(folder: Path, strategy: str, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """A toy of four short videos, and what a training of one epoch takes; the second replica has fewer videos."""
    toy = make_toy(folder, items=4, frames=20)
    file = arrays.load(toy.labels)
    meta = file.meta
    for fold, items in zip(meta["folds"], (["v1", "v2", "v3"], ["v1", "v3"]), strict=True):
        fold |= {"train": items, "test": ["v0"]}
    arrays.save(toy.labels, dict(file), meta)
    recipe = {"epochs": 1, "selection": "last"} | changes.pop("training", {})
    return toy, {"engine": {"strategy": strategy, "places": 2}, "repeats": 1, "training": recipe} | changes


@BOTH
@pytest.mark.parametrize("loss", OF_FRAMES)
def test_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str, strategy: str) -> None:
    toy, changes = small(tmp_path, strategy, loss=loss)
    compare(toy, monkeypatch, **changes)


@BOTH
@pytest.mark.parametrize("sampler", registry.names("samplers"))
def test_samplers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, strategy: str) -> None:
    toy, changes = small(tmp_path, strategy, sampler=sampler, loss="rank_sim")
    compare(toy, monkeypatch, **changes)


@BOTH
@pytest.mark.parametrize("model", MODELS)
def test_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, strategy: str) -> None:
    toy, changes = small(tmp_path, strategy)
    recipe = changes.pop("training")
    plain = toy.run() | {"model": model, "model_config": MODELS[model] | {"training": recipe}}
    monkeypatch.setattr(toy, "run", lambda **more: plain | more)
    compare(toy, monkeypatch, 1e-6, **changes)  # an LSTM's kernel is taken apart on the device


@BOTH
@pytest.mark.parametrize("sampler", [None, "tns", "rebagg"])
def test_full_batches_of_which_a_replica_has_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str | None, strategy: str
) -> None:
    """Then a place of the stack has nothing to do for a while."""
    monkeypatch.setattr(chunks, "PAIRS", 30**2)
    toy, changes = small(tmp_path, strategy, sampler=sampler, loss="bmc", training={"batching": "accumulate_all"})
    compare(toy, monkeypatch, **changes)


@BOTH
@pytest.mark.parametrize("loss", OF_CLIPS)
def test_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str, strategy: str) -> None:
    toy = make_clip_toy(tmp_path)
    changes = {"loss": loss, "training": {"epochs": 1, "whole_epochs": 1}, "repeats": 1, "members": 2, "fit_on_all": 1}
    compare(toy, monkeypatch, engine={"strategy": strategy, "places": 2}, **changes)


def test_the_device_keeps_a_gpu_s_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these runs without a word where everything is on the CPU."""
    with pretend(monkeypatch):
        here, there = torch.ones(3), torch.ones(3).to(DEVICE)
        assert torch.equal((there * torch.tensor(2.0) + there[torch.tensor([0, 1, 2])]).cpu(), torch.full((3,), 3.0))
        rows = here.long()
        for mixed in (lambda: there + here, lambda: torch.stack([there, here]), lambda: there.index_select(0, rows)):
            with pytest.raises(RuntimeError, match="must be on one device"):
                mixed()
        with pytest.raises(TypeError, match="to numpy"):
            there.numpy()
        with pytest.raises(TypeError, match="to numpy"):
            np.asarray(there)
        for refused in (lambda: there.cumsum(0), lambda: there.median(0), lambda: torch.bincount(there.long(), there)):
            with pytest.raises(RuntimeError, match="deterministic"):
                refused()
        assert there.long().cumsum(0).tolist() == [1, 2, 3]
        with pytest.raises(RuntimeError, match="expected a generator"):
            torch.rand(2, generator=Generator("cpu"), device=DEVICE)
        drawn = torch.rand(2, generator=Generator(DEVICE).manual_seed(3), device=DEVICE)
        assert torch.equal(drawn.cpu(), torch.rand(2, generator=Generator("cpu").manual_seed(3)))


@pytest.mark.parametrize("width", [0, 1, 2, 7, 64, 65])
def test_running_sums_in_steps_are_torch_s_own(width: int) -> None:
    x = torch.rand(3, width, dtype=torch.float64)
    assert torch.allclose(c_mixup.in_steps(x), x.cumsum(dim=-1), rtol=1e-14, atol=0)
    assert torch.equal(c_mixup.running_sums(x), x.cumsum(dim=-1))
