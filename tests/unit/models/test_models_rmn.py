"""RMN: which clips its bank holds, and how it reads them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rmn_parts import clips_of, features_of, make, parameters, passed_of, video

from utopia.config import registry
from utopia.models._bank import NONE
from utopia.models._memory_network import MemoryNetwork
from utopia.models.rmn import Config, build


def held(model: MemoryNetwork, frames: int) -> list[list[int]]:
    """The clips in the bank before each clip of a video, by an independent walk over what was dropped."""
    x, _ = video(frames)
    rollout = passed_of(model, x, [frames]).rollout
    bank = [NONE] * model.config.rows
    walked = []
    for clip, dropped in enumerate(rollout.dropped_VC[0].tolist()):
        walked.append(list(bank))
        if dropped < len(bank):
            bank[dropped] = clip
    assert rollout.held_numbers[0].tolist() == walked
    return walked


def test_sizes_at_the_documented_settings() -> None:
    model = build(Config(), 3968, "tanh")
    assert isinstance(model, MemoryNetwork)
    assert parameters(model.clips) == 2 * 4 * 64 * ((3968 + 64 + 2) + (128 + 64 + 2))
    assert parameters(model.reader) == 3 * 128 * 128 + 1
    assert parameters(model.policy) == (128 * 128 + 128) + 128 * 128 + 128 + (128 + 1)
    config = Config()
    assert (config.rows, config.d_model, config.clip_s, config.rewrite_every, config.roll) == (10, 128, 10, 32, 32)
    assert config.training.learning_rate == 1e-4
    assert registry.config_of("models", "rmn").model_json_schema() == Config.model_json_schema()


def test_a_clip_is_ten_seconds_at_any_rate() -> None:
    for step_s, frames in ((1.0, 10), (0.5, 20), (1 / 6, 60), (30.0, 1)):
        model = build(Config(), 4, "tanh", step_s)
        assert isinstance(model, MemoryNetwork) and model.clip == frames


def test_empty_rows_are_filled_first_and_then_one_row_at_most_changes() -> None:
    for policy in ("learnt", "frozen", "random", "fifo"):
        walked = held(make(policy=policy), 4 * 12)
        assert walked[:4] == [[NONE] * 3, [0, NONE, NONE], [0, 1, NONE], [0, 1, 2]]
        for before, after in pairwise(walked[3:]):
            assert sum(one != other for one, other in zip(before, after, strict=True)) <= 1
    assert held(make(policy="fifo"), 4 * 8)[-1] == [6, 4, 5]  # the last three, the oldest overwritten


def test_what_is_read_is_rewritten_every_so_many_steps() -> None:
    """Clips of 4 steps, rewritten every 10: before the clips that begin at 0, 12, 20, 32 steps."""
    model = make(policy="fifo", rewrite_every=10)
    x, _ = video(4 * 9)
    rollout = passed_of(model, x, [36]).rollout
    rewritten = [clip for clip in range(9) if model.rewrites_before(clip)]
    assert rewritten == [0, 3, 5, 8]
    for clip in range(9):
        last = max(number for number in rewritten if number <= clip)
        assert rollout.read_numbers[0, clip].tolist() == rollout.held_numbers[0, last].tolist()


def test_reading_is_a_mean_of_values_by_cosine_over_the_filled_rows_only() -> None:
    model = make(rewrite_every=1, policy="fifo")
    x, _ = video(4 * 6)
    passed = passed_of(model, x, [24])
    _, h_Cd = clips_of(model.clips, x, [4] * 6)
    for clip in range(6):
        clips = [number for number in passed.rollout.read_numbers[0, clip].tolist() if number != NONE]
        expected = torch.zeros(8, dtype=torch.float64)
        if clips:
            query = model.reader.query(h_Cd[clip])
            cosine = torch.stack([torch.cosine_similarity(query, model.reader.key(h_Cd[n]), dim=0) for n in clips])
            share = (model.reader.log_sharpness.exp() * cosine).softmax(0)
            expected = sum(a * model.reader.value(h_Cd[n]) for a, n in zip(share, clips, strict=True))
        torch.testing.assert_close(features_of(passed)[4 * clip, 8:], expected, rtol=0, atol=1e-12)


def test_a_read_depends_on_its_query() -> None:
    """The same bank, asked by two clips: other shares. Zero query weights make them equal: then there is no query."""
    x, y = video(4 * 12)
    model = make()
    assert model.diagnose([lambda: (x, [48], y)])["query"] > 0.01
    with torch.no_grad():
        model.reader.query.weight.zero_()
    assert model.diagnose([lambda: (x, [48], y)])["query"] == 0


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 45), min_size=1, max_size=4), st.sampled_from(["learnt", "random", "fifo"]))
def test_videos_do_not_see_one_another(lengths: list[int], policy: str) -> None:
    model = make(policy=policy)
    x, _ = video(sum(lengths))
    alone = torch.cat([model(x_TD, [len(x_TD)]) for x_TD in x.split(lengths)])
    torch.testing.assert_close(model(x, lengths), alone, rtol=0, atol=1e-12)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=3), st.integers(1, 7), st.integers(1, 30))
def test_a_video_in_pieces_is_the_video(lengths: list[int], roll: int, every: int) -> None:
    """What is carried from roll to roll is all that matters."""
    model = make(rewrite_every=every)
    x, _ = video(sum(lengths))
    lengths = sorted(lengths, reverse=True)
    whole = [f.split(4 * roll) for f in features_of(passed_of(model, x, lengths)).split(lengths)]
    bank = None
    for number, start in enumerate(range(0, max(lengths), 4 * roll)):
        going = [item for item, frames in enumerate(lengths) if frames > start]
        bank = bank.first(len(going), 1) if bank is not None else None
        pieces = [x.split(lengths)[item][start : start + 4 * roll] for item in going]
        passed = passed_of(model, torch.cat(pieces), [len(piece) for piece in pieces], bank, start // 4)
        expected = torch.cat([whole[item][number] for item in going])
        torch.testing.assert_close(features_of(passed), expected, rtol=0, atol=1e-12)
        bank = passed.rollout.bank(passed.source_VSd)


def test_the_loss_reaches_clips_that_were_read_and_no_further() -> None:
    for gradient, reached in (("roll", True), ("none", False)):
        model = make(rewrite_every=1, row_gradient=gradient)
        x, _ = video(8)
        x.requires_grad_()
        model(x, [8])[4:].sum().backward()
        assert x.grad is not None and bool((x.grad[:4] != 0).any()) is reached
        assert all(parameter.grad is None for parameter in [*model.policy.parameters(), *model.critic.parameters()])


def test_gains_are_how_much_worse_the_prediction_is_without_a_row() -> None:
    """Against networks whose bank really lacks the row."""
    model = make(rewrite_every=1, policy="fifo")
    x, y = video(4 * 5)
    passed = passed_of(model, x, [20])
    gains = model.gains(passed, y[passed.grid.row_KP])
    o_Rd, h_Cd = clips_of(model.clips, x, [4] * 5)
    for clip in range(5):
        frames = slice(4 * clip, 4 * clip + 4)

        def error(clips: list[int], clip: int = clip, frames: slice = frames) -> float:
            read = torch.zeros(8, dtype=torch.float64)
            if clips:
                query = torch.nn.functional.normalize(model.reader.query(h_Cd[clip]), dim=0)
                keys = torch.nn.functional.normalize(model.reader.key(h_Cd[clips]), dim=1)
                share = (model.reader.log_sharpness.exp() * keys @ query).softmax(0)
                read = share @ model.reader.value(h_Cd[clips])
            prediction = model.head(torch.cat([o_Rd[frames], read.expand(4, -1)], dim=1))
            return (prediction - y[frames]).square().mean().item()

        numbers = passed.rollout.read_numbers[0, clip].tolist()
        there = [number for number in numbers if number != NONE]
        for row, number in enumerate(numbers):
            without = error([n for n in there if n != number]) - error(there) if number != NONE else 0.0
            assert abs(float(gains[0, clip, row]) - without) < 1e-12


def test_controls_read_nothing() -> None:
    x, _ = video(24)
    assert (make(read="masked").encode(x, _packed(24))[:, 8:] == 0).all()
    assert make(read="none").encode(x, _packed(24)).shape == (24, 8)


def _packed(frames: int):  # type: ignore[no-untyped-def]
    from utopia.models._layout import Packed

    return Packed([frames])


def test_a_policy_that_has_learnt_nothing_neither_always_writes_nor_never() -> None:
    """Whatever it was drawn as: the age of a row, which all rows but the newest share, must not decide for it."""
    x, y = video(4 * 40)
    for seed in range(12):
        used = make(seed).diagnose([lambda: (x, [160], y)])
        assert used["choices"] == 37 and 0.05 < used["writes"] < 0.95, seed  # type: ignore[operator]


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=6),
    st.integers(1, 6),
    st.sampled_from(["learnt", "random", "fifo"]),
)
def test_videos_in_groups_are_diagnosed_as_all_at_once(lengths: list[int], cuts: int, policy: str) -> None:
    """Also where a group never fills the bank, or has nothing to read; and one group's numbers are its own."""
    model = make(policy=policy)
    x, y = video(sum(lengths))
    bounds = [0, *sorted({*range(cuts, len(lengths), cuts)}), len(lengths)]

    def group(first: int, last: int):  # type: ignore[no-untyped-def]
        rows = slice(sum(lengths[:first]), sum(lengths[:last]))
        return lambda: (x[rows], lengths[first:last], y[rows])

    whole = model.diagnose([group(0, len(lengths))])
    grouped = model.diagnose([group(*pair) for pair in pairwise(bounds)])
    assert list(grouped) == list(whole)
    for name, value in whole.items():
        assert grouped[name] == (value if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)), name
