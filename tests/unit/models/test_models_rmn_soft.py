"""The earlier reading of RMN: the network, its reading and its writing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rmn_parts import SMALL, make_soft, parameters, video
from torch import nn

from utopia.config import registry
from utopia.models import pgl_sum
from utopia.models._clips import clip_lengths
from utopia.models._layout import Packed
from utopia.models._learner import Learns
from utopia.models._soft_memory import Reader, SoftMemoryNetwork, Writer
from utopia.models.rmn import Config, build


def test_sizes_at_the_documented_settings() -> None:
    model = build(Config(reading="soft"), 3968, "tanh")
    assert isinstance(model, SoftMemoryNetwork)
    lstm = 2 * 4 * 64 * ((3968 + 64 + 2) + (128 + 64 + 2))
    assert parameters(model.clips) == lstm
    assert parameters(model.reader) == 3 * 128 * 128
    assert parameters(model.predictor) == (256 * 64 + 64) + (64 + 1)
    assert parameters(model.writer) == (384 * 128 + 128) + (128 + 1) + 1 + 128 * 128
    assert parameters(model.critic) == (267 * 128 + 128) + (128 * 128 + 128) + (128 + 1)
    assert parameters(model) == 2_347_140


def test_settings_follow_the_documented_ones() -> None:
    config = Config()
    assert (config.rows, config.d_model, config.clip_s, config.layers, config.roll) == (10, 128, 10, 2, 32)
    assert (config.training.learning_rate, config.training.batching) == (1e-4, "per_video")
    assert registry.config_of("models", "rmn").model_json_schema() == Config.model_json_schema()
    with pytest.raises(ValidationError, match="must be per_video"):
        Config.model_validate({"training": {"batching": "accumulate_all"}})


def test_only_a_model_with_a_learner_says_that_it_learns_by_itself() -> None:
    assert isinstance(make_soft(), Learns)
    assert not isinstance(pgl_sum.build(pgl_sum.Config(), 16, "tanh"), Learns)


def test_shapes_of_reading_and_writing() -> None:
    model = make_soft()
    x, _ = video(4 * 5 + 2)
    f = model.encode(x, Packed([13, 9]))
    assert f.shape == (22, 16) and model.head(f).shape == (22,)
    memories = model.remember(torch.zeros(6, 8, dtype=torch.float64), model.start())
    assert memories.all_TNd.shape == (7, 3, 8) and memories.before.shape == (6, 3, 8)
    assert memories.gate_CG.shape == (6, 4)


def test_read_computed_by_hand() -> None:
    reader = Reader(2).double()
    with torch.no_grad():
        reader.query.weight.copy_(torch.eye(2))
        reader.key.weight.copy_(2 * torch.eye(2))
        reader.value.weight.copy_(torch.tensor([[0.0, 1], [1, 0]]))
    memory = torch.tensor([[[1.0, 0], [0, 3]]], dtype=torch.float64)
    h = torch.tensor([[1.0, 1]], dtype=torch.float64)
    energies = [2 / math.sqrt(2), 6 / math.sqrt(2)]
    share = 1 / (1 + math.exp(energies[1] - energies[0]))
    expected = torch.tensor([[(1 - share) * 3, share * 1]], dtype=torch.float64)
    torch.testing.assert_close(reader(memory, h), expected, rtol=0, atol=1e-14)


def test_write_computed_by_hand() -> None:
    writer = Writer(Config.model_validate({**SMALL, "d_model": 2, "rows": 2})).double()
    with torch.no_grad():
        writer.candidate.weight.copy_(torch.tensor([[1.0, 1], [0, -1]]))
    memory = torch.tensor([[[1.0, 2], [3, 4]]], dtype=torch.float64)
    gate = torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64)
    new = [math.tanh(0.3 + 0.1), math.tanh(-0.1)]
    expected = [[0.75 * 1 + 0.25 * new[0], 0.75 * 2 + 0.25 * new[1]], [0.5 * 3 + 0.5 * new[0], 0.5 * 4 + 0.5 * new[1]]]
    after = writer.write(memory, torch.tensor([[0.3, 0.1]], dtype=torch.float64), gate)
    torch.testing.assert_close(after[0], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14)


def test_policy_scores_each_row_by_the_same_network() -> None:
    """Rows exchanged, gates exchanged; and the scores are those of the concatenation in its documented order."""
    writer = make_soft().writer
    generator = torch.Generator().manual_seed(2)
    memory = torch.randn(1, 3, 8, dtype=torch.float64, generator=generator)
    h = torch.randn(1, 8, dtype=torch.float64, generator=generator)
    gate = writer.gate(memory, h)
    exchanged = writer.gate(memory[:, [2, 0, 1]], h)
    torch.testing.assert_close(exchanged[0], gate[0, [2, 0, 1, 3]])
    rows = [writer.score(torch.cat([memory[0, i], h[0], memory[0, i] * h[0]])).item() for i in range(3)]
    expected = torch.tensor([*rows, writer.stay.item()], dtype=torch.float64).softmax(0)
    torch.testing.assert_close(gate[0], expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.booleans(), st.integers(0, 10**6), st.floats(0, 30))
def test_gates_add_up_to_one(rows: int, hard: bool, seed: int, scale: float) -> None:
    writer = make_soft(rows=rows, hard_write=hard).writer
    generator = torch.Generator().manual_seed(seed)
    memory, h = (
        scale * torch.randn(4, rows, 8, dtype=torch.float64, generator=generator),
        torch.randn(4, 8, dtype=torch.float64, generator=generator),
    )
    noise = torch.randn(4, rows + 1, dtype=torch.float64, generator=generator)
    gate = writer.gate(memory, h, noise)
    torch.testing.assert_close(gate.sum(1), torch.ones(4, dtype=torch.float64))
    assert (gate >= 0).all()
    if hard:
        torch.testing.assert_close(gate.max(1).values, torch.ones(4, dtype=torch.float64))
    gate[:, 0].sum().backward()
    assert writer.stay.grad is not None and torch.isfinite(writer.stay.grad).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 19), min_size=1, max_size=4), st.sampled_from(["per_frame", "per_clip"]))
def test_memory_starts_anew_with_every_video(lengths: list[int], rate: str) -> None:
    model = make_soft(rate=rate, start="distinct")
    x, _ = video(sum(lengths))
    alone = torch.cat([model(x_TD, [len(x_TD)]) for x_TD in x.split(lengths)])
    torch.testing.assert_close(model(x, lengths), alone, rtol=0, atol=1e-12)


def test_a_clip_reads_what_earlier_clips_wrote_and_nothing_else() -> None:
    model = make_soft()
    x, _ = video(16)
    y = model(x, [16])
    changed = x.clone()
    changed[8:12] += 1
    difference = (model(changed, [16]) - y).abs()
    assert (difference[:8] == 0).all() and (difference[8:12] > 0).all() and (difference[12:] > 0).all()


def test_memory_passes_no_gradient_from_one_clip_to_another() -> None:
    model = make_soft()
    x, _ = video(8)
    x.requires_grad_()
    model(x, [8])[4:].sum().backward()
    assert x.grad is not None and (x.grad[:4] == 0).all() and (x.grad[4:] != 0).any()
    assert all(parameter.grad is None for parameter in [*model.writer.parameters(), *model.critic.parameters()])
    assert model.reader.value.weight.grad is not None


def test_clip_features_and_rates() -> None:
    x, _ = video(10)
    lengths = clip_lengths(10, 4)
    assert lengths == [4, 4, 2]
    model = make_soft()
    outputs, pooled = model.clips.packed(x, lengths)
    for number, piece in enumerate(x.split(lengths)):  # each clip by itself, from a zero state
        alone = model.clips.lstm(piece[None, None], None)[0, 0]
        torch.testing.assert_close(outputs.split(lengths)[number], alone)
        torch.testing.assert_close(pooled[number], alone.mean(0))
    model = make_soft(pool="last")
    outputs, pooled = model.clips.packed(x, lengths)
    torch.testing.assert_close(pooled[1], torch.cat([outputs[7, :4], outputs[4, 4:]]))
    torch.testing.assert_close(pooled[2], torch.cat([outputs[9, :4], outputs[8, 4:]]))
    by_clip = make_soft(rate="per_clip")(x, [10])
    assert (by_clip[:4] == by_clip[0]).all() and (by_clip[4:8] == by_clip[4]).all()
    assert len(set(make_soft()(x, [10])[:4].tolist())) == 4
    wide = make_soft(units=8)
    assert isinstance(wide.clips.project, nn.Linear) and wide(x, [10]).shape == (10,)


def test_equal_rows_stay_equal_without_exploration_unless_a_switch_undoes_it() -> None:
    x, _ = video(24)
    for changes, equal in (({}, True), ({"start": "distinct"}, False), ({"hard_write": True}, False)):
        model = make_soft(**changes)
        with torch.no_grad():
            model.writer.stay.fill_(-1.0)  # so that something is written
        last = model.remember(model.clips.packed(x, [4] * 6)[1].detach(), model.start()).all_TNd[-1]
        assert torch.allclose(last, last[:1].expand_as(last)) == equal
