"""Figures of EEV: what is drawn is what the parameters, predictions and metrics say, and all of it is readable."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from utopia import arrays, files
from utopia.config import registry
from utopia.config.load import load
from utopia.datasets._eev_index import EXPRESSIONS
from utopia.errors import ComputeError
from utopia.evaluation.protocols import evaluate_run
from utopia.evaluation.uncertainty import interval, read_items
from utopia.figures import style as figure_style
from utopia.figures.data import Inputs
from utopia.figures.reaction_model import blocks, output_function
from utopia.figures.reaction_network import read_network
from utopia.figures.reaction_series import chosen_reactions, median_of_videos
from utopia.figures.render import render_figure
from utopia.labels.read import Labels
from utopia.models.bi_gru import Config, build
from utopia.plan import catalog
from utopia.plan.plan import Plan

JUDGED = [name for name in catalog.drawings() if "summaries" in catalog.drawing(name).reads]
VIDEOS = {"long": 420, "a": 126, "b": 90, "c": 240, "d": 133}
RUNS = {"l1": "eev.bi_gru.l1", "ccc": "eev.bi_gru.ccc", "ensemble": "eev.bi_gru.l1_ensemble"}
ONE = ("l1",)


def shapes(widths: list[int], **settings: Any) -> dict[str, list[int]]:
    """As training.json has them: those of the real module, and what standardises the features."""
    with torch.device("meta"):
        network = build(Config(**settings), sum(widths), "sigmoid", widths=widths, outputs=15)
    own = {f"model.{name}": list(value.shape) for name, value in network.named_parameters()}
    return own | {"mean_D": [sum(widths)], "scale_D": [sum(widths)]}


@pytest.fixture(scope="module")
def eev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five validation videos and one to train on, two seeds of three runs, with the metrics that evaluation makes."""
    folder, rng = tmp_path_factory.mktemp("eev"), np.random.default_rng(7)
    contents: dict[str, np.ndarray] = {}
    stored: dict[str, dict[str, np.ndarray]] = {role: {} for role in RUNS}
    for number, (item, rows) in enumerate({"t": 60, **VIDEOS}.items()):
        contents[f"{item}/times"] = np.arange(rows) / 6
        walk = np.cumsum(rng.normal(size=(rows, 15)), axis=0)
        truth = (1 / (1 + np.exp(-walk / 4))).astype(np.float32)
        contents[f"{item}/reactions"] = truth
        for part, role in enumerate(RUNS):
            for seed in range(2):
                gain = np.linspace(-0.3, 0.5, 15) * (1 + 0.2 * number)
                noise = rng.normal(scale=0.2 + 0.1 * part, size=truth.shape)
                stored[role][f"reactions/official/{seed}/{item}"] = np.clip(0.3 + gain * truth + noise, 0, 1).astype(
                    "f4"
                )
    meta = {
        "dataset": "eev",
        "protocol": "reactions",
        "targets": {"reactions": {"low": 0.0, "high": 1.0}},
        "columns": {"reactions": list(EXPRESSIONS)},
        "items": ["t", *VIDEOS],
        "absent": {},
        "folds": [{"name": "official", "train": ["t"], "test": list(VIDEOS)}],
    }
    arrays.save(folder / "labels.safetensors", contents, meta)
    clips = {"rate": 1.0, "steps": 60}
    for role, run in RUNS.items():
        own = {name: values for name, values in stored[role].items() if not name.endswith("/t")}
        arrays.save(folder / f"{role}.safetensors", own, {"folds": ["official"], "repeats": [0, 1]})
        evaluate_run(
            run={"id": run, "targets": ["reactions"], "repeats": 2}
            | {"double_rounding": False, "constant": "zero", "label_filter": "none"},
            labels=folder / "labels.safetensors",
            predictions=folder / f"{role}.safetensors",
            output=folder / f"{role}.csv",
        )
        settings = {
            "features": ["swin_l", "vggish_raw"],
            "low": 0.0,
            "high": 1.0,
            "seed": 5,
            "model_config": {"dropout": 0.3, "training": {"clips": clips}},
        }
        summary = {"run": run, "items": dict.fromkeys(VIDEOS, 1), "settings": settings}
        replicas = [{"diagnostics": {"writes": share, "entropy": 0.9, "query": 0.1}} for share in (0.2, 0.6)]
        files.write_json(folder / f"{role}.json", summary | {"parameters": shapes([1536, 128]), "replicas": replicas})
    return folder


def spec(draw: str) -> dict[str, Any]:
    return {"id": f"f_{draw}", "draw": draw, "dataset": "eev", "target": "reactions", "options": {}}


def given(folder: Path, roles: tuple[str, ...]) -> dict[str, Any]:
    runs = {role: RUNS[role] for role in roles}
    kinds = {"predictions": "safetensors", "summaries": "json", "metrics": "csv"}
    of_runs = {kind: {run: folder / f"{role}.{suffix}" for role, run in runs.items()} for kind, suffix in kinds.items()}
    return {"labels": folder / "labels.safetensors", "distribution": None, "runs": runs, **of_runs}


def render(folder: Path, draw: str, output: Path, roles: tuple[str, ...] = tuple(RUNS), **more: Any) -> dict[str, Path]:
    outputs = {suffix: output / f"{draw}.{suffix}" for suffix in more.pop("forms", ("csv",))}
    render_figure(figure=spec(draw), outputs=outputs, **{**given(folder, roles), **more})
    return outputs


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def numbers(found: list[dict[str, str]], series: str, panel: str, axis: str = "y") -> list[float]:
    return [float(line[axis]) for line in found if line["series"] == series and line["panel"] == panel]


@pytest.mark.parametrize("draw", JUDGED)
def test_without_a_distribution_and_with_equal_bytes(eev: Path, tmp_path: Path, draw: str) -> None:
    one, two = (render(eev, draw, tmp_path / name, forms=("pdf", "csv")) for name in ("one", "two"))
    for suffix in one:
        assert one[suffix].read_bytes() == two[suffix].read_bytes(), suffix
    assert {line["status"] for line in lines(one["csv"])} == {"drawn"}
    assert b"CreationDate" not in one["pdf"].read_bytes()


@pytest.mark.parametrize("roles", [ONE, tuple(RUNS), ()])
@pytest.mark.parametrize("draw", JUDGED)
def test_texts_are_readable_and_inside_the_page(
    eev: Path, readable: Callable[[Figure], None], draw: str, roles: tuple[str, ...]
) -> None:
    inputs = Inputs(
        spec(draw),
        Labels(eev / "labels.safetensors"),
        None,
        predictions={role: arrays.load(eev / f"{role}.safetensors") for role in roles},
        summaries={role: files.read_json(eev / f"{role}.json") for role in roles},
        metrics={role: eev / f"{role}.csv" for role in roles},
        absent_runs={} if roles else dict.fromkeys(RUNS, "swin_l: no weights; " + "vggish_raw: no videos " * 5),
    )
    with figure_style.styled():
        figure, _ = registry.load("figures", draw).draw(inputs)
        readable(figure)


@pytest.mark.parametrize("draw", JUDGED)
def test_without_runs_the_reason_is_said(eev: Path, tmp_path: Path, draw: str) -> None:
    found = lines(render(eev, draw, tmp_path, roles=(), absent_runs={"l1": "no videos", "ccc": "no videos"})["csv"])
    assert [(line["series"], line["note"]) for line in found] == [("absent", "no videos")]


def test_a_drawing_that_needs_a_distribution_says_that_there_is_none(eev: Path, tmp_path: Path) -> None:
    with pytest.raises(ComputeError, match="eev has no label distribution"):
        render(eev, "label_distribution", tmp_path)


# -- the network


@pytest.mark.parametrize(
    ("widths", "settings", "count"),
    [
        ([1536, 128], {}, 13_176_063),  # with Swin-L, as the reference code's own module counts
        ([2048, 128], {}, 14_748_927),  # with Inception
        ([1536], {"units": [24]}, None),
        ([7, 5, 3], {"units": [4, 3, 2], "layers": 3}, None),
    ],
)
def test_the_network_is_read_from_the_shapes(widths: list[int], settings: dict[str, Any], count: int | None) -> None:
    own = shapes(widths, **settings)
    network = read_network(own, [f"m{number}" for number in range(len(widths))])
    config = Config(**settings)
    assert network.parameters == sum(np.prod(shape) for name, shape in own.items() if name.startswith("model."))
    assert count is None or network.parameters == count
    assert [modality.d_in for modality in network.modalities] == widths
    for modality, units in zip(network.modalities, config.units, strict=False):
        assert [(one.units, one.directions, one.cell) for one in modality.layers] == [(units, 2, "GRU")] * config.layers
    assert network.fused == 2 * sum(config.units[: len(widths)]) and network.outputs == 15


def _without(own: dict[str, list[int]], part: str) -> dict[str, list[int]]:
    return {name: shape for name, shape in own.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda own: _without(own, "model.gate.linear"), "there is no gate.linear"),
        (lambda own: _without(own, "layers.0.states.1.weight"), "directions of modalities.0.layers.0 are not alike"),
        (lambda own: _without(own, "modalities.1"), "1 modalities, and features of 2"),
        (lambda own: own | {"model.norm.weight": [9]}, "9 of .* parameters belong to none"),
        (lambda own: own | {"model.out.weight": [15, 9]}, "the linear takes 9 numbers to 15 after 14"),
        (lambda own: own | {"model.modalities.0.layers.1.inputs.0.weight": [12, 9]}, "directions .* are not alike"),
        (
            lambda own: own | {f"model.modalities.0.layers.1.inputs.{way}.weight": [12, 9] for way in range(2)},
            "a layer of x takes 9 numbers after one that gives 8",
        ),
        (
            lambda own: own | {f"model.modalities.1.layers.1.states.{way}.weight": [9, 4] for way in range(2)},
            "9 rows for|rows for 4 units",
        ),
        (lambda own: {}, "0 modalities"),
    ],
)
def test_other_parameters_are_refused(change: Any, said: str) -> None:
    own = shapes([6, 5], units=[4, 3])
    with pytest.raises(ComputeError, match=said):
        read_network(change(own), ["x", "y"])


def test_the_model_figure_says_what_the_module_has(eev: Path, tmp_path: Path) -> None:
    found = lines(render(eev, "reaction_model", tmp_path, roles=ONE)["csv"])
    by_name = {line["series"]: line for line in found}
    assert float(by_name["parameters"]["y"]) == 13_176_063
    assert (by_name["swin_l, layer 1"]["x"], by_name["swin_l, layer 1"]["y"]) == ("1536.0", "1024.0")
    assert (by_name["vggish_raw, layer 2"]["x"], by_name["vggish_raw, layer 2"]["y"]) == ("256.0", "256.0")
    assert by_name["linear"]["note"] == f"{1280 * 15 + 15:,} parameters"
    assert [line["note"] for line in found if line["series"] == "score"] == list(EXPRESSIONS)


def test_the_blocks_go_from_the_video_to_the_scores_as_the_report_draws_them() -> None:
    """EEV Fig. 1, from above: video; frames and sound; Swin and VGGish; two GRUs each; concatenation; gates; scores."""
    network = read_network(shapes([1536, 128]), ["swin_l", "vggish_raw"])
    made = blocks(network, "sigmoid", list(EXPRESSIONS))
    rows = [[block.text for block in made if block.row == row] for row in range(1 + max(block.row for block in made))]
    assert rows == [
        ["video"],
        ["frames", "sound"],
        ["Swin Transformer (Swin-L)\n→ 1,536", "VGGish\n→ 128"],
        ["bidirectional GRU\n→ 2 × 512", "bidirectional GRU\n→ 2 × 128"],
        ["bidirectional GRU\n→ 2 × 512", "bidirectional GRU\n→ 2 × 128"],
        ["concatenation → 1,280"],
        ["context gating, 1,280"],
        ["fully connected 1,280 → 15"],
        ["context gating, 15"],
        ["sigmoid"],
        ["15 scores:"],
    ]


def test_the_sampling_figure_says_what_the_settings_have(eev: Path, tmp_path: Path) -> None:
    found = lines(render(eev, "reaction_sampling", tmp_path, roles=ONE)["csv"])
    assert numbers(found, "steps of a clip", "") == [60]
    assert numbers(found, "label rows per second", "") == pytest.approx([6])
    assert numbers(found, "step", "", "x") == pytest.approx([0, 1, 2, 3, 4])


def test_the_output_function_is_the_models() -> None:
    from utopia.models._common import activation_for

    for low, high in ((0, 1), (-1, 1), (0, 5), (-2, 1)):
        assert output_function(low, high).replace("none", "linear") == activation_for(low, high)


# -- one video over time


def pearson(folder: Path, role: str, repeat: int, video: str) -> np.ndarray:
    truth = arrays.load(folder / "labels.safetensors")[f"{video}/reactions"].astype(float)
    made = arrays.load(folder / f"{role}.safetensors")[f"reactions/official/{repeat}/{video}"].astype(float)
    return np.array([np.corrcoef(truth[:, c], made[:, c])[0, 1] for c in range(15)])


def test_the_series_are_of_the_median_video_and_its_best_median_and_worst_reaction(eev: Path, tmp_path: Path) -> None:
    found = lines(render(eev, "reaction_series", tmp_path, roles=ONE)["csv"])
    r = {video: np.mean([pearson(eev, "l1", repeat, video) for repeat in range(2)], axis=0) for video in VIDEOS}
    video = sorted(VIDEOS, key=lambda name: r[name].mean())[2]
    assert next(line["note"] for line in found if line["series"] == "video") == f"{video}, fold official"
    order = np.argsort(-r[video])
    said = [line["note"] for line in found if line["series"] == "reaction"]
    assert said == [f"{EXPRESSIONS[order[at]]}, {place}" for at, place in ((0, "best"), (7, "median"), (14, "worst"))]
    stored, truth = arrays.load(eev / "l1.safetensors"), arrays.load(eev / "labels.safetensors")
    for panel, column in zip("abc", order[[0, 7, 14]], strict=True):
        curves = [stored[f"reactions/official/{repeat}/{video}"][:, column].astype(float) for repeat in range(2)]
        assert numbers(found, "label", panel) == truth[f"{video}/reactions"][:, column].astype(float).tolist()
        assert numbers(found, "prediction", panel) == np.mean(curves, axis=0).tolist()
        for repeat, curve in enumerate(curves):
            assert numbers(found, f"prediction, repeat {repeat}", panel) == curve.tolist()
            told = numbers(found, f"correlation, repeat {repeat}", panel)
            assert told == pytest.approx([pearson(eev, "l1", repeat, video)[column]], abs=1e-5)
        assert numbers(found, "step", panel, "x") == pytest.approx(np.arange(-(-VIDEOS[video] // 6)))


def test_the_rules_of_choice_by_hand() -> None:
    by_repeat = {
        "0": {name: {"correlation": value} for name, value in {"a": 0.1, "b": 0.3, "c": 0.3, "d": 0.9}.items()},
        "1": {name: {"correlation": value} for name, value in {"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.9}.items()},
    }
    assert median_of_videos(by_repeat, ["c", "d", "b", "a"]) == "c", "of two alike the official first"
    assert median_of_videos(by_repeat, ["b", "d", "c", "a"]) == "b"
    assert chosen_reactions({"x": [0.1, 0.3], "y": [0.9], "z": [], "u": [-0.4], "v": [0.1]}) == {
        "best": "y",
        "median": "v",
        "worst": "u",
    }
    assert chosen_reactions({"x": [0.1], "y": [0.9]}) == {"best": "y", "median": "x"}
    with pytest.raises(ComputeError, match="every series is constant"):
        median_of_videos({"0": {}}, ["a"])


# -- correlation by reaction


def test_the_correlations_are_means_over_videos_and_seeds(eev: Path, tmp_path: Path) -> None:
    found = lines(render(eev, "reaction_correlation", tmp_path)["csv"])
    for role, run in RUNS.items():
        r_RC = np.array([np.mean([pearson(eev, role, n, video) for video in VIDEOS], axis=0) for n in range(2)])
        own = {line["series"]: line for line in found if line["panel"] == role}
        for column, name in enumerate(EXPRESSIONS):
            assert float(own[name]["x"]) == pytest.approx(r_RC[:, column].mean(), abs=1e-5)
            deviation = float(own[f"{name}, deviation over seeds"]["x"])
            assert deviation == pytest.approx(r_RC[:, column].std(ddof=1), abs=1e-5)
            assert float(own[name]["low"]) < float(own[name]["x"]) < float(own[name]["high"])
        assert float(own["mean of all"]["x"]) == pytest.approx(r_RC.mean(), abs=1e-5)
        items = read_items(eev / f"{role}.csv", run, "reactions", "correlation")
        assert not isinstance(items, str)
        around = interval(items)
        told = (float(own["mean of all"]["low"]), float(own["mean of all"]["high"]))
        assert told == (around.low, around.high), "exactly the interval that the tables print"
    shown = [line["series"] for line in found if line["panel"] == "l1" and line["low"]]
    first = {line["series"]: float(line["x"]) for line in found if line["panel"] == "l1" and line["low"]}
    assert shown == ["mean of all", *sorted(EXPRESSIONS, key=lambda name: -first[name])]


def test_a_reaction_without_a_correlation_is_a_hole_with_a_reason(eev: Path, tmp_path: Path) -> None:
    text = (eev / "l1.csv").read_text().splitlines(keepends=True)
    (tmp_path / "cut.csv").write_text("".join(line for line in text if ",correlation.awe," not in line))
    runs = {RUNS["l1"]: tmp_path / "cut.csv"}
    found = lines(render(eev, "reaction_correlation", tmp_path, roles=ONE, metrics=runs)["csv"])
    (hole,) = (line for line in found if line["series"] == "awe")
    assert hole["x"] == "" and "not defined" in hole["note"]


def test_a_figure_depends_on_what_it_reads_alone() -> None:
    plan = Plan(load({"study": "miniature"}))
    network, series = plan.figure_inputs("eev_figure_1"), plan.figure_inputs("beyond_reaction_series")
    assert "distribution" not in network and "distribution" not in series
    assert (len(network["summaries"]), len(network["metrics"])) == (1, 0)
    assert [len(series[kind]) for kind in ("summaries", "metrics", "predictions")] == [1, 1, 1]
    assert len(plan.figure_inputs("beyond_reaction_correlation")["metrics"]) == 3
