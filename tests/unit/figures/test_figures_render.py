"""Figures drawn on small real inputs: what is in them, that nothing is cut off, that bytes repeat."""

from __future__ import annotations

import csv
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from scipy.stats import t

from utopia import arrays
from utopia.config import registry
from utopia.errors import ConfigError, UtopiaError
from utopia.features.read import FeatureReader
from utopia.figures import style as figure_style
from utopia.figures.data import Inputs, marked
from utopia.figures.render import render_figure
from utopia.files import read_json
from utopia.labels.read import Labels
from utopia.plan import catalog
from utopia.plan.catalog import Drawing, drawing, drawings

FORMS = ("pdf", "png", "csv")
OF_LABELS = [name for name in drawings() if {"summaries", "table"}.isdisjoint(drawing(name).reads)]
LONG = "google_pool5_liris: eccv16_dataset_liris_google_pool5.h5 is not in liris/; googlenet: the folder has no videos"


def spec(draw: str, target: str = "valence", **options: Any) -> dict[str, Any]:
    return {
        "id": f"f_{draw}",
        "title": "T",
        "caption": "C",
        "draw": draw,
        "dataset": "d",
        "target": target,
        "seed": 1,
        "options": options,
    }


def render(folder: Path, draw: str, output: Path, target: str = "valence", **more: Any) -> dict[str, Path]:
    outputs = {suffix: output / f"{draw}.{suffix}" for suffix in more.pop("forms", ("csv",))}
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
        "predictions": {
            f"liris.pgl_sum.{role}": folder / f"liris.pgl_sum.{role}.safetensors" for role in ("baseline", "tns_cwl")
        },
    }


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.long
@pytest.mark.parametrize("draw", OF_LABELS)
def test_equal_inputs_give_equal_bytes_whatever_the_users_settings(movies: Path, tmp_path: Path, draw: str) -> None:
    """PNGs are compared of one drawing: they show the figure that the PDF shows, and one function writes them all."""
    one = render(movies, draw, tmp_path / "one", forms=FORMS, **extras(movies))
    forms = FORMS if draw == OF_LABELS[0] else ("pdf", "csv")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "lines.linewidth": 9}):
        two = render(movies, draw, tmp_path / "two", forms=forms, **extras(movies))
    for suffix in forms:
        assert one[suffix].read_bytes() == two[suffix].read_bytes(), suffix
    assert b"CreationDate" not in one["pdf"].read_bytes() and one["pdf"].read_bytes().startswith(b"%PDF")
    assert int.from_bytes(one["png"].read_bytes()[16:20], "big") == round(figure_style.COLUMN * figure_style.DPI)
    assert {line["status"] for line in lines(one["csv"])} == {"drawn"}
    numbers = hashlib.sha256(one["csv"].read_bytes()).hexdigest()
    with Image.open(one["png"]) as picture:
        assert numbers in picture.info["Comment"]
    assert marked(one["png"].read_bytes()) == marked(one["pdf"].read_bytes()) == numbers


def test_a_png_has_few_colours_and_looks_as_it_was_drawn(tmp_path: Path) -> None:
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    for n in range(12):
        axes.fill_between(range(40), n, n + 3, color=(n / 12, 0.4, 1 - n / 12), alpha=0.3)
    axes.plot([20], [6], "o", color="#00FF00", markersize=2)  # few pixels have this colour: it must not be lost
    figure.savefig(tmp_path / "whole.png", dpi=figure_style.DPI)
    figure_style.save(figure, {"png": tmp_path / "few.png"})
    with Image.open(tmp_path / "whole.png") as whole, Image.open(tmp_path / "few.png") as few:
        assert few.mode == "P" and whole.size == few.size and round(few.info["dpi"][0]) == figure_style.DPI
        apart = np.abs(np.asarray(whole.convert("RGB"), int) - np.asarray(few.convert("RGB"), int))
        assert few.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert apart.max() < 24 and apart.mean() < 1
    assert (tmp_path / "few.png").stat().st_size < 0.7 * (tmp_path / "whole.png").stat().st_size


def test_reasons_stand_in_one_order(tmp_path: Path, movies: Path) -> None:
    """A record gives settings by name, the plan in the order of the catalogue."""
    why = {"tns_cwl": "no votes", "baseline": "one annotator"}
    for draw in OF_LABELS:
        texts = {
            render(movies, draw, tmp_path / f"{draw}{n}", absent_runs=reasons)["csv"].read_text()
            for n, reasons in enumerate((why, dict(reversed(why.items()))))
        }
        assert len(texts) == 1, draw


def _drawn(folder: Path, draw: str, target: str, full: bool, **given_more: Any) -> Figure:
    more: dict[str, Any] = {"feature_reason": LONG, "absent_runs": {"baseline": LONG, "tns_cwl": LONG}}
    if full:
        given = extras(folder)
        more = {
            "features": FeatureReader(given["features"]),
            "feature_names": ["rgb"],
            "predictions": {run.split(".")[-1]: arrays.load(path) for run, path in given["predictions"].items()},
        }
    more |= given_more
    labels, distribution = Labels(folder / "labels.safetensors"), arrays.load(folder / "distribution.safetensors")
    return registry.load("figures", draw).draw(Inputs(spec(draw, target), labels, distribution, **more))[0]


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


def ys(found: list[dict[str, str]], series: str, panel: str | None = None) -> list[float]:
    """The plotted values of a series, in the order of the file."""
    return [float(each["y"]) for each in found if each["series"] == series and panel in (None, each["panel"])]


def test_the_csv_of_figure_2_is_the_distribution_file(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "label_distribution", tmp_path)["csv"])
    video = next(line["note"] for line in found if line["series"] == "video")
    stored = arrays.load(movies / "distribution.safetensors").under(f"{video}/valence")
    assert ys(found, "n") == stored["count"].tolist() and ys(found, "n~") == stored["utopia_count"].tolist()
    label = arrays.load(movies / "labels.safetensors")[f"{video}/valence"]
    assert ys(found, "label", "a") == label.tolist()


def test_figure_2_draws_the_kernel_at_one_label_over_what_it_gathers(movies: Path, tmp_path: Path) -> None:
    """The published taps (.27, .45, .27) on the label's bin and its two neighbours give n~ there (Eq. 2)."""
    found = lines(render(movies, "label_distribution", tmp_path, options={"label": -0.06})["csv"])
    taps, gathered = ys(found, "kernel", "c"), ys(found, "gathered n", "c")
    assert taps == pytest.approx([0.2741, 0.4519, 0.2741], abs=1e-4)
    (convolved,) = ys(found, "n~ at the label")
    assert sum(g * n for g, n in zip(taps, gathered, strict=True)) == pytest.approx(convolved)
    assert convolved > gathered[1] > 0, "the label has frames and needs more"
    (where,) = (float(line["x"]) for line in found if line["series"] == "n~ at the label")
    (at,) = (line for line in found if line["panel"] == "d" and float(line["x"]) == where)
    assert float(at["y"]) == convolved


def test_what_the_convolution_asks_for_is_the_distribution_file(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "required_change", tmp_path)["csv"])
    video = next(line["note"] for line in found if line["series"] == "video")
    stored = arrays.load(movies / "distribution.safetensors").under(f"{video}/valence")
    assert ys(found, "n~ - n") == (stored["utopia_count"] - stored["count"]).tolist()
    assert ys(found, "samples added by TNS") == stored["need"].tolist()
    assert sum(line["series"] == "time slice" for line in found) == len(stored["slice"])


def test_figure_3_shows_a_video_with_features(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "tns_example", tmp_path, **extras(movies), options={"samples": 30})["csv"])
    video = next(line["note"] for line in found if line["series"] == "video")
    assert video != "MEDIAEVAL18_00"
    assert sum(line["panel"] == "c" and line["series"] == "sample" for line in found) == 30
    window = ys(found, "contribution, slice") + ys(found, "contribution, extension")
    assert sum(window) == pytest.approx(1)
    assert sum(line["panel"] == "c" and line["series"] in ("slice", "extension") for line in found) == len(window)


def test_figure_3_marks_the_label_and_all_of_its_frames(movies: Path, tmp_path: Path) -> None:
    """The frames marked along the timeline are those of the label's bin, and the slice is a run of two or more."""
    found = lines(render(movies, "tns_example", tmp_path, **extras(movies), options={"label": -0.06})["csv"])
    video = next(line["note"] for line in found if line["series"] == "video")
    label = arrays.load(movies / "labels.safetensors")[f"{video}/valence"]
    (marked,) = (float(line["x"]) for line in found if line["panel"] == "a" and line["series"] == "label")
    here = np.abs(label - marked) <= 0.01
    frames = [float(line["x"]) for line in found if line["series"] == "frame with the label"]
    assert frames == np.flatnonzero(here).astype(float).tolist()
    (own,) = (line for line in found if line["panel"] == "b" and line["series"] == "slice")
    first, last = int(float(own["low"])), int(float(own["high"]))
    assert last - first >= 2 and here[first:last].all()
    assert (first == 0 or not here[first - 1]) and (last == len(label) or not here[last])


def test_figure_3_without_features_says_why(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "tns_example", tmp_path, feature_reason="no videos")["csv"])
    assert [line["note"] for line in found if line["panel"] == "c"] == ["no videos"]
    assert any(line["panel"] == "b" for line in found)


def test_figure_4_against_an_independent_account(movies: Path, tmp_path: Path) -> None:
    """Regions, mean errors, ribbons and correlations, counted frame by frame with loops and NumPy's own functions."""
    found = lines(render(movies, "error_by_label", tmp_path, **extras(movies))["csv"])
    labels = Labels(movies / "labels.safetensors")
    train, convolved, test = ([], [], [])
    for fold in labels.folds:
        edges = np.linspace(-1, 1, 101)
        counts = [
            np.histogram(np.concatenate([labels.label(item, "valence") for item in fold[part]]), edges)[0]
            for part in ("train", "test")
        ]
        taps = np.exp(-0.5 * np.array([-1.0, 0, 1]) ** 2)
        padded = np.pad(counts[0], 1)
        train.append(counts[0])
        convolved.append(sum(taps[j] / taps.sum() * padded[j : j + 100] for j in range(3)))
        test.append(counts[1])
    mean = np.mean(train, axis=0)
    threshold = 500 / 97_000 * mean.sum()
    high = [k for k in range(100) if mean[k] > threshold]
    stretches = {"I": (0, high[0]), "II": (high[0], high[-1] + 1), "III": (high[-1] + 1, 100), "all": (0, 100)}
    (said,) = ys(found, "threshold, training frames at a label")
    assert said == pytest.approx(threshold)

    stored = {role: arrays.load(movies / f"liris.pgl_sum.{role}.safetensors") for role in ("baseline", "tns_cwl")}
    squared: dict[str, list[list[float]]] = {role: [[] for _ in range(100)] for role in stored}
    for role, file in stored.items():
        for fold in labels.folds:
            for seed in range(2):
                for item in fold["test"]:
                    truth = labels.label(item, "valence").astype(float)
                    predicted = file[f"valence/{fold['name']}/{seed}/{item}"].astype(float)
                    for y, p in zip(truth, predicted, strict=True):
                        squared[role][min(99, int((y + 1) / 0.02 + 1e-5))].append((p - y) ** 2)

    def value(series: str, region: str) -> float | None:
        (line,) = (one for one in found if (one["panel"], one["series"], one["x"]) == ("regions", series, region))
        return float(line["y"]) if line["y"] else None

    words = {"baseline": "without ULDA", "tns_cwl": "with ULDA"}
    for region, (first, stop) in stretches.items():
        for role, name in words.items():
            errors = [e for k in range(first, stop) for e in squared[role][k]]
            ranges = [max(squared[role][k]) - min(squared[role][k]) for k in range(first, stop) if squared[role][k]]
            said_mse, said_range = value(f"MSE {name}", region), value(f"range {name}", region)
            assert said_mse == (pytest.approx(np.mean(errors)) if errors else None)
            assert said_range == (pytest.approx(np.mean(ranges)) if ranges else None)
        r = {}
        for series, kind in (("PCC, original labels", train), ("PCC, convolved labels", convolved)):
            with np.errstate(invalid="ignore", divide="ignore"):
                of_folds = [np.corrcoef(one[first:stop], other[first:stop])[0, 1]
                            for one, other in zip(kind, test, strict=True)]  # fmt: skip
            r[series] = None if np.isnan(of_folds).any() else float(np.mean(of_folds))
            assert value(series, region) == (None if r[series] is None else pytest.approx(r[series]))
        change = None if None in r.values() else r["PCC, convolved labels"] - r["PCC, original labels"]
        assert value("change of PCC", region) == (None if change is None else pytest.approx(change))
    assert value("change of MSE", "all") == pytest.approx(
        np.mean([e for own in squared["tns_cwl"] for e in own])
        - np.mean([e for own in squared["baseline"] for e in own])
    )
    for role, name in words.items():
        ribbon = [line for line in found if line["series"] == f"MSE {name}, mean and range"]
        assert len(ribbon) == sum(bool(own) for own in squared[role])
        for line in ribbon:
            own = squared[role][round((float(line["x"]) + 0.99) / 0.02)]
            assert [float(line[part]) for part in ("y", "low", "high")] == pytest.approx(
                [np.mean(own), min(own), max(own)]
            )


def test_figure_4_names_the_model_that_predicted(movies: Path) -> None:
    with figure_style.styled():
        titles = [axes.get_title(loc="left") for axes in _drawn(movies, "error_by_label", "valence", True).axes]
    assert "(b) squared error of PGL-SUM by label" in titles


def test_figure_4_without_predictions_says_why(movies: Path, tmp_path: Path) -> None:
    absent = {"baseline": "no videos", "tns_cwl": "no videos"}
    found = lines(render(movies, "error_by_label", tmp_path, absent_runs=absent)["csv"])
    assert [line["note"] for line in found if line["series"] == "absent"] == ["no videos"]
    assert {line["x"] for line in found if line["series"] == "change of PCC"} == {"I", "II", "III", "all"}


def test_changes_of_error_and_likeness_by_fold_and_item(movies: Path, tmp_path: Path) -> None:
    found = lines(render(movies, "error_change", tmp_path, **extras(movies))["csv"])
    for panel, over, names in (
        ("a", "target and fold", ["arousal/0", "arousal/1", "valence/0", "valence/1"]),
        ("b", "target and test item", None),
    ):
        pairs = [line for line in found if line["series"] == f"change of PCC (x) and of MSE (y), {over}"]
        assert len(pairs) == (4 if names else 2 * (3 + 3)), "two targets, two folds of three test movies"
        if names:
            assert sorted(line["note"] for line in pairs) == names
        gains, falls = ([float(line[axis]) for line in pairs] for axis in ("x", "y"))
        (r,) = ys(found, f"correlation of the changes, {over}", panel)
        assert r == pytest.approx(np.corrcoef(gains, falls)[0, 1])
        assert all(fall < 0 for fall in falls), "the treated run predicts .5 of the label, the baseline .3"
    absent = {"baseline": "no videos", "tns_cwl": "no videos"}
    found = lines(render(movies, "error_change", tmp_path, absent_runs=absent)["csv"])
    assert [line["note"] for line in found] == ["no videos"]


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
    labels, stored = Labels(movies / "labels.safetensors"), arrays.load(movies / "liris.pgl_sum.baseline.safetensors")
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
    found = lines(render(movies, "error_by_label", tmp_path, predictions=renamed, runs=runs)["csv"])
    assert ys(found, "change of MSE", "regions")


@pytest.mark.parametrize("draw", ["label_distribution", "required_change", "tns_example", "votes"])
def test_items_are_called_by_their_titles(movies: Path, draw: str) -> None:
    names = {item["id"]: item["name"] for item in read_json(movies / "manifest.json")["items"]}
    with figure_style.styled():
        texts = [text.get_text() for text in _drawn(movies, draw, "valence", True, names=names).findobj(Text)]
    assert any("The long way home" in text for text in texts)
    assert not any("MEDIAEVAL18" in text for text in texts)


def test_an_absent_figure_states_its_reason(tmp_path: Path) -> None:
    outputs = {suffix: tmp_path / f"f.{suffix}" for suffix in FORMS}
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


@pytest.mark.parametrize("name", drawings())
def test_a_file_that_draws_says_what_the_plan_must_know_of_it(name: str) -> None:
    module = registry.load("figures", name)
    said = {part: getattr(module, part.upper(), None) for part in Drawing._fields}
    assert {part: value for part, value in said.items() if value is not None}.items() <= drawing(name)._asdict().items()
    assert set(said["reads"]) <= {"features", "summaries", "metrics"} or said["reads"] == ("table",)
    reads = "table" if "table" in said["reads"] else "inputs"
    assert list(inspect.signature(module.draw).parameters) == [reads]


def test_every_file_that_draws_is_a_drawing() -> None:
    drawn = {name for name in registry.names("figures") if hasattr(registry.load("figures", name), "draw")}
    assert set(drawings()) == drawn
    assert {figure.draw for figure in catalog.figures().values()} == drawn, "a drawing that no figure uses"


def test_unknown_drawings_and_forms(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tns_example"):
        render_figure(figure=spec("tns_exampel"), labels=None, distribution=None, outputs={})
    with pytest.raises(UtopiaError, match="no form 'gif'"):
        render_figure(
            figure=spec("tns_example"), labels=None, distribution=None, absent="x", outputs={"gif": tmp_path / "f.gif"}
        )
