"""Grouping, and the loss of a chunk written out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from utopia.config.study import Distribution
from utopia.distribution.item import ItemDistribution, describe_item
from utopia.losses import cwl, mse
from utopia.models._common import Regressor
from utopia.models._layout import Layout
from utopia.samplers import tns
from utopia.samplers._common import Samples
from utopia.training.chunks import Video, give_labels, make_chunks, predict, ragged_groups
from utopia.training.loop import chunk_loss
from utopia.training.network import Network

SUMMARY = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
CPU = torch.device("cpu")


class FirstColumn(Regressor):
    """Predicts the first feature."""

    def encode(self, x_RD: Tensor, rows: Layout, keys_R: Tensor | None = None) -> Tensor:
        return x_RD

    def head(self, f_Rd: Tensor, keys_R: Tensor | None = None) -> Tensor:
        return f_Rd[:, 0]


NETWORK = Network(FirstColumn(), torch.zeros(3), torch.ones(3))


def videos(*lengths: int) -> list[Video]:
    rng = np.random.default_rng(0)
    found = []
    for number, frames in enumerate(lengths):
        label_T = rng.beta(2, 4, size=frames)
        x_TD = torch.from_numpy(rng.normal(size=(frames, 3)).astype(np.float32))
        target_T = torch.as_tensor(label_T, dtype=torch.float32)
        found.append(Video(f"v{number}", x_TD, target_T, describe_item(label_T, SUMMARY, 10)))
    return found


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 60))
def test_grouping_keeps_order_and_fits(lengths: list[int], rows: int) -> None:
    given_videos = [Video(str(n), torch.zeros(frames, 1), torch.zeros(frames)) for n, frames in enumerate(lengths)]
    groups = ragged_groups(given_videos, rows)
    assert [video.item for group in groups for video in group] == [video.item for video in given_videos]
    assert all(len(group) == 1 or sum(len(video.x_TD) for video in group) <= rows for group in groups)
    for first, second in pairwise(groups):  # no group could have taken the next video
        assert sum(len(video.x_TD) for video in first) + len(second[0].x_TD) > rows


def test_a_chunk_sums_the_means_of_its_videos() -> None:
    two = videos(12, 30)
    loss = cwl.build(cwl.Config())
    (chunk,) = make_chunks([two], loss, None, CPU)
    expected = 0.0
    for video in two:
        assert video.series is not None
        error_T = (video.x_TD[:, 0] - video.target_T).double().numpy() ** 2
        expected += float((video.series.weight * error_T).mean())
    assert chunk_loss(NETWORK, chunk, loss, torch.Generator()).item() == pytest.approx(expected, rel=1e-5)


def test_new_samples_count_like_frames() -> None:
    two = videos(40, 60)
    for loss in (mse.build(mse.Config()), cwl.build(cwl.Config())):
        (chunk,) = make_chunks([two], loss, lambda *given: tns.build(tns.Config(), *given), CPU)
        assert chunk.sampler is not None
        new = chunk.sampler.draw(chunk.x_RD, torch.Generator().manual_seed(1))
        value = chunk_loss(NETWORK, chunk, loss, torch.Generator().manual_seed(1)).item()
        expected = 0.0
        needs = chunk.sampler.needs
        for number, (video, weights) in enumerate(zip(two, loss.weights([v.series for v in two], needs), strict=True)):  # type: ignore[misc]
            own = new.video_Q == number
            frames = (video.x_TD[:, 0] - video.target_T).double().numpy() ** 2
            samples = (new.feature_Qd[own, 0] - new.target_Q[own]).double().numpy() ** 2
            total = weights.frame_T @ frames + weights.new_b[new.bin_Q[own].numpy()] @ samples
            expected += total / (len(frames) + len(samples))
        assert value == pytest.approx(expected, rel=1e-4)


def test_a_sampler_may_leave_frames_out() -> None:
    one = videos(10)

    class Half:
        """Counts the first frame twice, the second not at all."""

        def __init__(self, series: Sequence[ItemDistribution], target_R: Tensor, device: torch.device) -> None:
            self.needs = [np.zeros(10)]

        def draw(self, feature_Rd: Tensor, generator: torch.Generator) -> Samples:
            none = torch.zeros(0, dtype=torch.long)
            count_R = torch.tensor([3.0, 0.0] + [1.0] * 8)
            return Samples(feature_Rd[:0], torch.zeros(0), none, none, count_R)

    loss = mse.build(mse.Config())
    (chunk,) = make_chunks([one], loss, Half, CPU)
    error_T = (one[0].x_TD[:, 0] - one[0].target_T).square()
    expected = (3 * error_T[0] + error_T[2:].sum()) / 11
    assert chunk_loss(NETWORK, chunk, loss, torch.Generator()).item() == pytest.approx(expected.item(), rel=1e-5)


def test_labels_are_given_to_those_who_take_them() -> None:
    def with_labels(x: int, labels: list[int] | None = None) -> object:
        return x, labels

    assert give_labels(with_labels, [np.ones(1)])(1) == (1, [1])  # type: ignore[comparison-overlap]
    assert give_labels(abs, [])(-1) == 1


def test_predictions_do_not_depend_on_the_grouping() -> None:
    many = videos(300, 200, 100, 5)
    found = {video.item: y_T for video, y_T in predict(NETWORK, many, CPU)}
    for video in many:
        assert found[video.item].tolist() == video.x_TD[:, 0].tolist()
    assert NETWORK.training
