"""Figures drawn on small real inputs: what stands in them, that nothing is cut off, that bytes repeat."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import t

from utopia import arrays
from utopia.errors import ConfigError, UtopiaError
from utopia.features.read import FeatureReader
from utopia.labels.read import Labels
from utopia.outputs import figure_style
from utopia.outputs.catalog import JUDGED
from utopia.outputs.figure import DRAWINGS, render_figure
from utopia.outputs.figure_data import Inputs

OF_LABELS = sorted(set(DRAWINGS) - JUDGED)
LONG = "google_pool5_liris: eccv16_dataset_liris_google_pool5.h5 is not in liris/; googlenet: the folder has no videos"


def spec(draw: str, target: str = "valence", **options: Any) -> dict[str, Any]:
    return {
        "id": f"f_{draw}",
        "title": "T",
        "caption": "C",
        "draw": draw,
        "dataset": "d",
        "target": target,
        "options": options,
    }


def render(folder: Path, draw: str, output: Path, target: str = "valence", **more: Any) -> dict[str, Path]:
    outputs = {suffix: output / f"{draw}.{suffix}" for suffix in ("pdf", "png", "csv")}
    render_figure(
        figure=spec(draw, target, **more.pop("options", {})),
        labels=folder / "labels.safetensors",
        distribution=folder / "distribution.safetensors",
        outputs=outputs,
        **more,
    )
    return outputs


def extras(folder: Path) -> dict[str, Any]:
    return {
        "features": [folder / "features" / "liris" / "rgb.json"],
        "feature_names": ["rgb"],
        "predictions": {f"liris.et.{role}": folder / f"liris.et.{role}.safetensors" for role in ("baseline", "cwl")},
    }


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("draw", OF_LABELS)
def test_equal_inputs_give_equal_bytes_whatever_the_users_settings(movies: Path, tmp_path: Path, draw: str) -> None:
    one = render(movies, draw, tmp_path / "one", **extras(movies))
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "lines.linewidth": 9}):
        two = render(movies, draw, tmp_path / "two", **extras(movies))
    for suffix in one:
        assert one[suffix].read_bytes() == two[suffix].read_bytes(), suffix
    assert b"CreationDate" not in one["pdf"].read_bytes() and one["pdf"].read_bytes().startswith(b"%PDF")
    assert int.from_bytes(one["png"].read_bytes()[16:20], "big") == round(figure_style.PAGE * figure_style.DPI)
    assert {line["status"] for line in lines(one["csv"])} == {"drawn"}


def _drawn(folder: Path, draw: str, target: str, full: bool) -> Figure:
    more: dict[str, Any] = {"feature_reason": LONG, "absent_runs": {"baseline": LONG, "cwl": LONG}}
    if full:
        given = extras(folder)
        more = {
            "features": FeatureReader(given["features"]),
            "feature_names": ["rgb"],
            "predictions": {run.split(".")[-1]: arrays.load(path) for run, path in given["predictions"].items()},
        }
    labels, distribution = Labels(folder / "labels.safetensors"), arrays.load(folder / "distribution.safetensors")
    return DRAWINGS[draw](Inputs(spec(draw, target), labels, distribution, **more))[0]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("draw", OF_LABELS)
def test_texts_are_readable_and_inside_the_page(
    movies: Path, readable: Callable[[Figure], None], draw: str, full: bool
) -> None:
    with figure_style.styled():
        readable(_drawn(movies, draw, "valence", full))


@pytest.mark.shared
@pytest.mark.parametrize("draw", OF_LABELS)
def test_texts_on_real_labels(summe: Path, readable: Callable[[Figure], None], draw: str) -> None:
    with figure_style.styled():
        readable(_drawn(summe, draw, "importance", full=False))


def test_the_csv_of_figure_2_is_the_distribution_file(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "label_distribution", tmp_path)["csv"])
    video = next(line["note"] for line in found if line["series"] == "video")
    stored = arrays.load(movies / "distribution.safetensors").under(f"{video}/valence")
    for series, values in (
        ("n", stored["count"]),
        ("n~", stored["utopia_count"]),
        ("n~ - n", stored["utopia_count"] - stored["count"]),
        ("samples added by TNS", stored["need"]),
    ):
        assert [float(line["y"]) for line in found if line["series"] == series] == values.tolist()
    label = arrays.load(movies / "labels.safetensors")[f"{video}/valence"]
    assert [float(line["y"]) for line in found if line["series"] == "label"] == label.tolist()
    assert sum(line["series"] == "time slice" for line in found) == len(stored["slice"])


def test_figure_3_shows_a_video_with_features(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "tns_example", tmp_path, **extras(movies), options={"samples": 30})["csv"])
    video = next(line["note"] for line in found if line["series"] == "video")
    assert video != "MEDIAEVAL18_00"
    assert sum(line["panel"] == "c" and line["series"] == "sample" for line in found) == 30
    window = [line for line in found if line["panel"] == "b"]
    assert sum(float(line["y"]) for line in window) == pytest.approx(1)
    assert sum(line["panel"] == "c" and line["series"] in ("slice", "extension") for line in found) == len(window)


def test_figure_3_without_features_says_why(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "tns_example", tmp_path, feature_reason="no videos")["csv"])
    assert [line["note"] for line in found if line["panel"] == "c"] == ["no videos"]
    assert any(line["panel"] == "b" for line in found)


def test_figure_4_with_and_without_predictions(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "distribution_shift", tmp_path, **extras(movies))["csv"])
    changes = [line for line in found if line["series"] == "change of PCC (x) and of MSE (y), pairs of target and fold"]
    assert sorted(line["note"] for line in changes) == ["arousal/0", "arousal/1", "valence/0", "valence/1"]
    gains, falls = ([float(line[axis]) for line in changes] for axis in ("x", "y"))
    (r,) = (
        float(line["y"]) for line in found if line["series"] == "correlation of the changes, pairs of target and fold"
    )
    assert r == pytest.approx(np.corrcoef(gains, falls)[0, 1])
    by_item = [
        line for line in found if line["series"] == "change of PCC (x) and of MSE (y), pairs of target and test item"
    ]
    assert len(by_item) == 2 * (3 + 3), "two targets, two folds of three test movies"
    gains, falls_of_items = ([float(line[axis]) for line in by_item] for axis in ("x", "y"))
    (r,) = (
        float(line["y"])
        for line in found
        if line["series"] == "correlation of the changes, pairs of target and test item"
    )
    assert r == pytest.approx(np.corrcoef(gains, falls_of_items)[0, 1])
    assert all(fall < 0 for fall in falls), "the treated run predicts .5 of the label, the baseline .3"
    absent = {"baseline": "no videos", "cwl": "no videos"}
    found = lines(render(movies, "distribution_shift", tmp_path, absent_runs=absent)["csv"])
    assert {line["note"] for line in found if line["series"] == "absent"} == {"no videos"}
    assert {"b", "c"} <= {line["panel"] for line in found if line["series"] == "absent"}


def test_figure_1_shows_the_votes_and_the_label_of_one_step(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "votes", tmp_path, **extras(movies))["csv"])
    labels = Labels(movies / "labels.safetensors")
    video = next(line["note"] for line in found if line["series"] == "video" and line["panel"] == "a")
    (step,) = (line for line in found if line["series"] == "step")
    frame = int(float(step["x"]))
    votes = labels.votes(video, "valence")
    assert votes is not None and votes.std(axis=0)[frame] == pytest.approx(np.median(votes.std(axis=0)), rel=0.05)
    assert [float(line["y"]) for line in found if line["series"] == "vote"] == votes[:, frame].tolist()
    label = next(float(line["x"]) for line in found if line["series"] == "label")
    assert label == labels.label(video, "valence")[frame]
    utopia = [float(line["y"]) for line in found if line["series"] == "utopia label, per cent"]
    assert utopia == pytest.approx([27.41, 45.19, 27.41], abs=0.01), "the published kernel, ULDA Eq. 2, on one frame"
    (mean,) = (line for line in found if line["series"].startswith("mean of all annotators"))
    half = t.ppf(0.975, 7) * votes[:, frame].std(ddof=1) / 8**0.5
    assert float(mean["high"]) - float(mean["x"]) == pytest.approx(half)


def test_figure_1_shows_the_median_test_video_of_the_baseline(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "votes", tmp_path, **extras(movies))["csv"])
    labels, stored = Labels(movies / "labels.safetensors"), arrays.load(movies / "liris.et.baseline.safetensors")
    error = {
        item: np.mean([(stored[f"valence/0/{seed}/{item}"] - labels.label(item, "valence")) ** 2 for seed in range(2)])
        for item in labels.folds[0]["test"]
    }
    chosen = sorted(error, key=lambda item: error[item])[1]
    assert next(line["note"] for line in found if line["panel"] == "b" and line["series"] == "video") == (
        f"{chosen}, fold 0"
    )
    mean = np.mean([stored[f"valence/0/{seed}/{chosen}"].astype(float) for seed in range(2)], axis=0)
    assert [float(line["y"]) for line in found if line["series"] == "baseline"] == pytest.approx(mean.tolist())
    (said,) = (float(line["y"]) for line in found if line["series"] == "baseline, mean squared error")
    assert said == pytest.approx(error[chosen])


def test_figure_1_without_votes_says_so(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "votes", tmp_path, target="arousal", **extras(movies))["csv"])
    assert [line["note"] for line in found if line["series"] == "absent"] == [
        "this data set gives the mean of the annotators' votes only"
    ]


def test_roles_of_runs(movies: Path, tmp_path: Path) -> None:
    """With roles given, a run's id says nothing."""
    given = extras(movies)
    renamed = {f"x{number}": path for number, path in enumerate(given["predictions"].values())}
    runs = {"baseline": "x0", "tns_cwl": "x1"}
    found = lines(render(movies, "distribution_shift", tmp_path, predictions=renamed, runs=runs)["csv"])
    assert {line["series"] for line in found if line["panel"] == "c"} == {"baseline", "tns_cwl"}


def test_an_absent_figure_states_its_reason(tmp_path: Path) -> None:
    outputs = {suffix: tmp_path / f"f.{suffix}" for suffix in ("pdf", "png", "csv")}
    render_figure(figure=spec("tns_example"), labels=None, distribution=None, absent="no liris/", outputs=outputs)
    assert lines(outputs["csv"])[0] | {"panel": ""} == {
        "figure": "f_tns_example",
        "status": "absent",
        "panel": "",
        "series": "absent",
        "x": "",
        "y": "",
        "low": "",
        "high": "",
        "note": "no liris/",
    }
    assert outputs["png"].stat().st_size > 1000 and outputs["pdf"].stat().st_size > 1000


def test_unknown_drawings_and_forms(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tns_example"):
        render_figure(figure=spec("tns_exampel"), labels=None, distribution=None, outputs={})
    with pytest.raises(UtopiaError, match="no form 'gif'"):
        render_figure(
            figure=spec("tns_example"), labels=None, distribution=None, absent="x", outputs={"gif": tmp_path / "f.gif"}
        )
