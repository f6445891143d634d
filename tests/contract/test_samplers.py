"""What every sampler must keep, whoever adds it: the tests run over the registry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.config import registry
from utopia.config.study import Distribution
from utopia.distribution.item import describe_item
from utopia.samplers._common import Samples, SeededOnce
from utopia.training.chunks import give_labels

SUMMARY = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
CPU = torch.device("cpu")
tracks = st.lists(
    st.one_of(
        st.lists(st.floats(0, 1), min_size=1, max_size=50),
        st.tuples(st.floats(0, 1), st.integers(1, 30)).map(lambda c: [c[0]] * c[1]),
    ).map(np.array),
    min_size=1,
    max_size=3,
)


def draw(name: str, labels: list[np.ndarray], feature_Rd: torch.Tensor, seed: int) -> tuple[Samples, list[np.ndarray]]:
    module = registry.load("samplers", name)
    config = module.Config()
    videos = [describe_item(label_T, SUMMARY, getattr(config, "window", 10)) for label_T in labels]
    target_R = torch.tensor(np.concatenate(labels), dtype=torch.float32)
    sampler = give_labels(module.build, labels)(config, videos, target_R, CPU)
    if isinstance(sampler, SeededOnce):
        sampler.seed_once(seed, seed)
    return sampler.draw(feature_Rd, torch.Generator().manual_seed(seed)), sampler.needs


@pytest.mark.parametrize("name", registry.names("samplers"))
@settings(deadline=None, max_examples=40)
@given(labels=tracks, seed=st.integers(0, 9))
def test_samples(name: str, labels: list[np.ndarray], seed: int) -> None:
    feature_Rd = torch.randn(sum(map(len, labels)), 6, generator=torch.Generator().manual_seed(1))
    new, needs = draw(name, labels, feature_Rd, seed)
    total = len(new.target_Q)
    assert new.feature_Qd.shape == (total, 6) and new.bin_Q.shape == new.video_Q.shape == (total,)
    assert torch.isfinite(new.feature_Qd).all()
    for number, need_b in enumerate(needs):
        own = new.video_Q == number
        found_b = torch.bincount(new.bin_Q[own], minlength=10).numpy()
        assert ((need_b > 0) | (found_b == 0)).all()  # only bins that are short
        if new.count_R is None and not (need_b % 1).any():
            assert found_b.tolist() == need_b.tolist()
        if own.any():  # a new label is within the label range, even where noise is added to it
            assert new.target_Q[own].min() >= 0 and new.target_Q[own].max() <= 1
    if new.count_R is not None:
        assert new.count_R.shape == feature_Rd.shape[:1] and (new.count_R >= 0).all()
    again, _ = draw(name, labels, feature_Rd, seed)
    assert torch.equal(again.feature_Qd, new.feature_Qd) and torch.equal(again.target_Q, new.target_Q)


@pytest.mark.parametrize("name", registry.names("samplers"))
def test_draws_differ_by_generator_and_leave_the_global_one_alone(name: str) -> None:
    label_T, feature_Rd = np.random.default_rng(0).beta(1, 6, size=60), torch.randn(60, 6)  # high labels are rare
    state = torch.random.get_rng_state()
    first, _ = draw(name, [label_T], feature_Rd, 0)
    second, _ = draw(name, [label_T], feature_Rd, 1)
    same = torch.equal(first.feature_Qd, second.feature_Qd)
    if first.count_R is not None and second.count_R is not None:
        same = same and torch.equal(first.count_R, second.count_R)
    assert not same
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", registry.names("samplers"))
def test_settings_are_the_same_read_with_and_without_torch(name: str) -> None:
    light, full = registry.config_of("samplers", name), registry.load("samplers", name).Config
    assert light().model_dump() == full().model_dump()
