"""ET against torch's own transformer encoder, and the properties that its equations imply."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from utopia.models import et
from utopia.models._common import activation_for

SMALL = et.Config(d_model=16, heads=4, layers=3, feedforward=24, head_hidden=8)


def build(config: et.Config = SMALL, d_in: int = 6, activation: str = "tanh", seed: int = 0) -> et.EncoderTransformer:
    torch.manual_seed(seed)
    return et.build(config, d_in, activation)  # type: ignore[arg-type, return-value]


def plain_et(model: et.EncoderTransformer, config: et.Config, x_TD: torch.Tensor) -> torch.Tensor:
    """The same function from torch's building blocks, one video, with this model's parameters."""
    d, frames = config.d_model, len(x_TD)
    layer = nn.TransformerEncoderLayer(d, config.heads, config.feedforward, config.dropout, batch_first=True)
    encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
    ours = {
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj.": "attention.out.",
        "linear1.": "widen.",
        "linear2.": "narrow.",
        "norm1.": "norm_attention.",
        "norm2.": "norm_feedforward.",
    }
    state = model.state_dict()
    encoder.load_state_dict(
        {
            f"layers.{i}.{theirs}{kind}": state[f"layers.{i}.{own}{kind}"]
            for i in range(config.layers)
            for theirs, own in ours.items()
            for kind in ("weight", "bias")
        }
    )
    encoder.eval()
    position = torch.zeros(frames, d)
    for t in range(frames):
        for i in range(0, d, 2):
            position[t, i] = math.sin(t / 10000 ** (i / d))
            position[t, i + 1] = math.cos(t / 10000 ** (i / d))
    if config.pe == "reference_batch_axis":
        position = position[:1].expand(frames, d)
    h = model.embed(x_TD) + (0 if config.pe == "none" else position)
    mask = nn.Transformer.generate_square_subsequent_mask(frames) if config.causal else None
    f = encoder(h[None], mask=mask, is_causal=config.causal)[0]
    return torch.tanh(model.out(model.hidden(f).relu())[:, 0])


def test_number_of_parameters() -> None:
    assert sum(p.numel() for p in et.build(et.Config(), 3968, "tanh").parameters()) == 2_642_753


@pytest.mark.parametrize("pe", ["by_time", "none", "reference_batch_axis"])
@pytest.mark.parametrize("causal", [True, False])
def test_equals_torch_transformer_encoder(pe: str, causal: bool) -> None:
    config = SMALL.model_copy(update={"pe": pe, "causal": causal})
    model = build(config).eval()
    for p in model.parameters():  # so that layers differ and biases count
        nn.init.normal_(p, std=0.3)
    lengths = [1, 9, 30]
    x_RD = torch.randn(sum(lengths), 6)
    with torch.no_grad():
        packed = model(x_RD, lengths)
        expected = torch.cat([plain_et(model, config, x) for x in x_RD.split(lengths)])
    assert packed.tolist() == pytest.approx(expected.tolist(), abs=2e-5)


def test_the_future_does_not_change_the_past() -> None:
    x_TD = torch.randn(20, 6)
    changed = torch.cat([x_TD[:12], torch.randn(8, 6)])
    for causal in (True, False):
        model = build(SMALL.model_copy(update={"causal": causal})).eval()
        same = torch.allclose(model(x_TD, [20])[:12], model(changed, [20])[:12], atol=1e-6)
        assert same == causal


def test_order_matters_only_with_position_or_mask() -> None:
    x_TD, turn = torch.randn(15, 6), torch.randperm(15)
    blind = build(SMALL.model_copy(update={"causal": False, "pe": "none"})).eval()
    assert torch.allclose(blind(x_TD, [15])[turn], blind(x_TD[turn], [15]), atol=1e-5)
    seeing = build(SMALL.model_copy(update={"causal": False})).eval()
    assert not torch.allclose(seeing(x_TD, [15])[turn], seeing(x_TD[turn], [15]), atol=1e-3)


def test_initial_values_are_torch_defaults() -> None:
    model = build(et.Config(), d_in=64)
    first, last = model.layers[0].state_dict(), model.layers[-1].state_dict()
    assert all(torch.equal(first[name], last[name]) for name in first)  # copies, as in nn.TransformerEncoder
    bound = math.sqrt(6 / (128 + 3 * 128))
    weight = first["attention.qkv.weight"]
    assert weight.abs().max() <= bound and weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not first["attention.qkv.bias"].any() and not first["attention.out.bias"].any() and not model.out.bias.any()
    assert first["widen.weight"].abs().max() <= 1 / math.sqrt(128)


def test_a_longer_video_extends_the_position_table() -> None:
    model = build().eval()
    short = model(torch.ones(4, 6), [4])
    long = model(torch.ones(40, 6), [40])
    assert torch.allclose(long[:4], short, atol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "name"), [(-1, 1, "tanh"), (0, 1, "sigmoid"), (1, 5, "linear"), (-3, 3, "linear")]
)
def test_output_function_covers_the_label_range(low: float, high: float, name: str) -> None:
    assert activation_for(low, high) == name
    y = build(activation=name).eval()(torch.randn(50, 6) * 100, [50])
    if name != "linear":
        assert (y >= low).all() and (y <= high).all()


def test_out_act_overrides_the_range() -> None:
    model = build(SMALL.model_copy(update={"out_act": "linear"}), activation="sigmoid")
    assert model.activation == "linear"


def test_width_must_divide_by_heads() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        et.Config(d_model=20, heads=8)
