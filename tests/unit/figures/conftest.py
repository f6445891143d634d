"""Small inputs for figures: labels files, distributions as the pipeline writes them, features and predictions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from utopia import arrays, files
from utopia.distribution.approximate import approximate_distribution
from utopia.features.store import place, put
from utopia.figures import style as figure_style

TENTHS = {"bins": 10, "low": 0.0, "high": 1.0, "delta": 0.3, "sigma": 0.1}
HUNDREDTHS = {"bins": 100, "low": -1.0, "high": 1.0, "delta": 0.06, "sigma": 0.02}


def write_labels(folder: Path, contents: dict[str, np.ndarray], meta: dict[str, Any], settings: dict[str, Any]) -> None:
    """A labels file and its distribution file."""
    arrays.save(folder / "labels.safetensors", contents, {"absent": {}} | meta)
    approximate_distribution(
        labels=folder / "labels.safetensors", settings=settings, window=10, output=folder / "distribution.safetensors"
    )


@pytest.fixture(scope="session")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten movies with smooth valence (and votes on it) and arousal, their features, and predictions of two runs."""
    folder, rng = tmp_path_factory.mktemp("movies"), np.random.default_rng(3)
    items = [f"MEDIAEVAL18_{i:02d}" for i in range(10)]
    contents: dict[str, np.ndarray] = {}
    index: dict[str, Any] = {}
    stored: dict[str, dict[str, np.ndarray]] = {"baseline": {}, "tns_cwl": {}}
    folds = [{"name": "0", "train": items[:7], "test": items[7:]}, {"name": "1", "train": items[3:], "test": items[:3]}]
    for item in items:
        frames = int(rng.integers(150, 300))
        contents[f"{item}/times"] = np.arange(frames, dtype=np.float64)
        for target in ("valence", "arousal"):
            walk = np.convolve(rng.normal(size=frames + 30), np.ones(31) / 31, "valid")
            contents[f"{item}/{target}"] = np.clip(walk, -1, 1)
            if target == "valence":
                apart = np.random.default_rng(frames).normal(scale=0.2, size=(8, frames))
                contents[f"{item}/{target}.votes"] = np.clip(walk + apart, -1, 1)
            for fold in folds:
                if item in fold["test"]:
                    for seed in range(2):
                        name = f"{target}/{fold['name']}/{seed}/{item}"
                        noise = rng.normal(scale=0.02, size=frames)
                        stored["baseline"][name] = (0.3 * walk + noise).astype(np.float32)
                        stored["tns_cwl"][name] = (0.5 * walk + noise).astype(np.float32)
        features = rng.normal(size=(frames, 12)).astype(np.float32)
        path = place(folder / "features" / "store", {"item": item})
        entry = put(path, folder / "features" / "store", features, contents[f"{item}/times"], {"item": item})
        index[item] = {"rgb": entry} if item != items[0] else {"rgb": {"absent": "no video"}}
    files.write_json(folder / "features" / "liris" / "rgb.json", {"items": index})
    targets = {name: {"low": -1.0, "high": 1.0} for name in ("valence", "arousal")}
    meta = {"dataset": "liris", "protocol": "affect", "targets": targets, "items": items, "folds": folds}
    write_labels(folder, contents, meta, HUNDREDTHS)
    names = {item: f"The long way home, part {number}: a movie" for number, item in enumerate(items)}
    files.write_json(folder / "manifest.json", {"items": [{"id": item, "name": name} for item, name in names.items()]})
    for role, series in stored.items():
        run = f"liris.pgl_sum.{role}"
        arrays.save(folder / f"{run}.safetensors", series, {"run": run, "folds": ["0", "1"], "repeats": [0, 1]})
    return folder


@pytest.fixture(scope="session")
def summe(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real SumMe annotations with the five published splits."""
    folder = tmp_path_factory.mktemp("summe")
    contents: dict[str, np.ndarray] = {}
    with h5py.File(shared_data / "summe" / "summe_labels.h5") as file:
        items = sorted(file, key=lambda name: int(name.split("_")[1]))
        for item in items:
            contents[f"{item}/importance"] = file[item]["gtscore"][()].astype(np.float64)
            contents[f"{item}/times"] = file[item]["picks"][()] / 25.0
    splits = json.loads((shared_data / "splits" / "summe_splits.json").read_text())
    meta = {
        "dataset": "summe",
        "protocol": "summary",
        "targets": {"importance": {"low": 0.0, "high": 1.0}},
        "items": items,
        "folds": [{"name": str(i), "train": s["train_keys"], "test": s["test_keys"]} for i, s in enumerate(splits)],
    }
    write_labels(folder, contents, meta, TENTHS)
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Makes a labels file with its distribution from {item: labels}: the last item is tested, the others train."""

    def make(labels: dict[str, list[float]], settings: dict[str, Any] = TENTHS) -> Path:
        contents = {f"{item}/y": np.array(values, np.float64) for item, values in labels.items()}
        contents |= {f"{item}/times": np.arange(len(values), dtype=np.float64) for item, values in labels.items()}
        items = list(labels)
        meta = {
            "dataset": "tiny",
            "protocol": "affect",
            "targets": {"y": {"low": settings["low"], "high": settings["high"]}},
            "items": items,
            "folds": [{"name": "0", "train": items[:-1], "test": items[-1:]}],
        }
        write_labels(tmp_path, contents, meta, settings)
        return tmp_path

    return make


def check_texts(figure: Figure) -> None:
    """Every text is readable at one printed column, within it, English, and over no other; no legend lies over data."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert figure.get_figwidth() == figure_style.COLUMN, "one column of a printed page, 8.5 cm"
    page, undrawn = figure.bbox, _undrawn(figure)
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    assert texts
    boxes = [(text, text.get_window_extent(canvas.get_renderer())) for text in texts if text not in undrawn]
    for (one, first), (other, second) in combinations(boxes, 2):
        over = min(first.x1, second.x1) - max(first.x0, second.x0), min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(over) < 1, f"one text lies over another: {one}, {other}"
    for text in texts:
        assert text.get_fontsize() >= 6.5, text
        box = text.get_window_extent(canvas.get_renderer())
        inside = (box.x0 >= -1, box.y0 >= -1, box.x1 <= page.x1 + 1, box.y1 <= page.y1 + 1)
        assert all(inside) or text in undrawn, (text, box)
        assert not re.search(r"(?<![\d.,])1 [a-z]+s\b", text.get_text()), f"one of several: {text}"
    for legend in figure.findobj(Legend):
        box = legend.get_window_extent(canvas.get_renderer())
        for axes in figure.axes:
            panel = axes.patch.get_window_extent(canvas.get_renderer())
            over = min(box.x1, panel.x1) - max(box.x0, panel.x0), min(box.y1, panel.y1) - max(box.y0, panel.y0)
            assert min(over) < 1, f"a legend lies over the panel {axes.get_title(loc='left')!r}"


def _undrawn(figure: Figure) -> list[Text]:
    """Labels of ticks beyond the limits of their axis: they exist as objects but are not drawn."""
    labels = []
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        margin = 1e-9 * (high - low)
        for tick in axis.get_major_ticks():
            if not low - margin <= tick.get_loc() <= high + margin:
                labels += [tick.label1, tick.label2]
    return labels


@pytest.fixture
def readable() -> Callable[[Figure], None]:
    """Checks that every text of a figure is readable and lies within the page."""
    return check_texts
