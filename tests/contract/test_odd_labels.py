"""Label tracks that a formula may stumble over, in every loss with every sampler: constant ones, one frame, all in one
bin, most bins empty, labels of one annotator (two ends), labels at the ends of the range, and features that do not vary
within a slice.
"""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from utopia.config import registry
from utopia.config.study import Distribution
from utopia.distribution.item import describe_item
from utopia.errors import ComputeError
from utopia.models._common import Regressor
from utopia.models._layout import Layout
from utopia.samplers._common import SeededOnce
from utopia.training.chunks import Video, make_chunks
from utopia.training.loop import chunk_loss
from utopia.training.network import Network

SUMMARY = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
FINE = Distribution(bins=100, low=0.0, high=1.0, delta=0.03, sigma=0.01)
CPU = torch.device("cpu")
D_IN = 5

constant = st.builds(lambda value, frames: [value] * frames, st.floats(0, 1), st.integers(1, 30))
one_bin = st.lists(st.floats(0.41, 0.49), min_size=1, max_size=30)
two_ends = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=30)
steps = st.lists(st.sampled_from([0.0, 0.0, 0.05, 0.1, 0.9]), min_size=1, max_size=40)
anything = st.lists(st.floats(0, 1), min_size=1, max_size=4)
track = st.one_of(constant, one_bin, two_ends, steps, anything).map(np.array)
tracks = st.lists(track, min_size=1, max_size=3)


class Plain(Regressor):
    """A layer of tanh and a linear regressor, frame by frame."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.Linear(D_IN, 4), nn.Linear(4, 1)

    def encode(self, x_RD: Tensor, rows: Layout, keys_R: Tensor | None = None) -> Tensor:
        return torch.tanh(self.layer(x_RD))

    def head(self, f_Rd: Tensor, keys_R: Tensor | None = None) -> Tensor:
        return self.out(f_Rd).squeeze(1)


@pytest.mark.parametrize("sampler", [None, *registry.names("samplers")])
@pytest.mark.parametrize("loss", registry.names("losses"))
@settings(max_examples=12, deadline=None)
@given(labels=tracks, still=st.booleans(), chosen=st.sampled_from([SUMMARY, FINE]))
@example(labels=[np.array([0.5])], still=True, chosen=SUMMARY)
@example(labels=[np.full(20, 0.3), np.array([0.0, 1.0])], still=True, chosen=FINE)
def test_a_training_pass_gives_numbers(
    loss: str, sampler: str | None, labels: list[np.ndarray], still: bool, chosen: Distribution
) -> None:
    torch.manual_seed(0)
    network = Network(Plain(), torch.zeros(D_IN), torch.ones(D_IN)).train()
    module = registry.load("losses", loss)
    value = module.build(module.Config())
    for part in value.modules():
        if hasattr(part, "generator"):
            part.generator = torch.Generator().manual_seed(0)
    make, window = None, 10
    if sampler is not None:
        drawn = registry.load("samplers", sampler)
        config = drawn.Config()
        window = getattr(config, "window", window)
        span = {"span": 1.0} if "span" in inspect.signature(drawn.build).parameters else {}
        make = partial(drawn.build, config, **span)
    videos = [
        Video(
            f"v{number}",
            torch.ones(len(label_T), D_IN) if still else torch.randn(len(label_T), D_IN),
            torch.as_tensor(label_T, dtype=torch.float32),
            describe_item(label_T, chosen, window),
            number,
        )
        for number, label_T in enumerate(labels)
    ]
    for chunk in make_chunks([videos], value, make, CPU):
        if isinstance(chunk.sampler, SeededOnce):
            chunk.sampler.seed_once(0, 0)
        found = chunk_loss(network, chunk, value, torch.Generator().manual_seed(0))
        assert found.shape == () and torch.isfinite(found)
        if found.requires_grad:
            found.backward()
    for parameter in [*network.parameters(), *value.parameters()]:
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


@settings(max_examples=60, deadline=None)
@given(
    label_T=track,
    bad=st.sampled_from([np.nan, np.inf, -np.inf, -0.01, 1.01, 1e300]),
    chosen=st.sampled_from([SUMMARY, FINE]),
    data=st.data(),
)
def test_a_label_outside_its_range_is_refused_by_frame(
    label_T: np.ndarray, bad: float, chosen: Distribution, data: st.DataObject
) -> None:
    frame = data.draw(st.integers(0, len(label_T) - 1))
    broken = label_T.astype(np.float64)
    broken[frame] = bad
    with pytest.raises(ComputeError, match=rf"at frame {frame} \(1 such\)") as caught:
        describe_item(broken, chosen, 10, where="summe/video_1")
    assert "summe/video_1" in str(caught.value) and "what to do" in str(caught.value)
