"""The critical-difference diagram: ranks by hand, Demsar's critical values, and from the plan to the files."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from utopia.config.load import load
from utopia.errors import ConfigError
from utopia.figures import style as figure_style
from utopia.figures.critical_difference import draw, ranks
from utopia.figures.render import render_figure
from utopia.plan.catalog import Figure as Entry
from utopia.plan.catalog import read_one
from utopia.plan.plan import Plan
from utopia.tables.render import COLUMNS

SPEC = {"id": "f", "title": "T", "caption": "C", "draw": "critical_difference"}


def table(path: Path, gains: dict[tuple[str, str, str], dict[str, float]]) -> Path:
    """The csv of a table of comparisons: (data set, model, metric) -> treatment -> gain."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for (dataset, model, metric), own in gains.items():
            for treatment, gain in own.items():
                names = {"dataset": dataset, "model": model, "treatment": treatment, "target": "v", "metric": metric}
                keys = json.dumps(names | {"against": "baseline"})
                writer.writerow({"column": "difference", "keys": keys, "value": repr(gain), "low": "0.0"})
                writer.writerow({"column": "p", "keys": keys, "value": "0.5"})
        writer.writerow({"column": "difference", "keys": keys, "value": "9.0"})  # of labels alone: no interval
    return path


GAINS = {
    ("films", "et", "mse"): {"cwl": 0.2, "tns": 0.1, "lds": 5.0},
    ("films", "et", "pcc"): {"cwl": 0.1, "tns": 0.2},
    ("films", "rmn", "mse"): {"cwl": 0.3},
    ("songs", "et", "mse"): {"cwl": 0.2, "tns": 0.1},
    ("shows", "et", "mse"): {"cwl": 0.0, "tns": -0.1},
}


def test_ranks_by_hand() -> None:
    """`lds` is on one data set alone, and RMN has no `tns`: left out. On shows `cwl` and the baseline share a rank."""
    places = {(dataset, "baseline", model, "v", metric): own for (dataset, model, metric), own in GAINS.items()}
    assert ranks(places) == {
        "films": {"baseline": 3.0, "cwl": 1.5, "tns": 1.5},
        "shows": {"baseline": 1.5, "cwl": 1.5, "tns": 3.0},
        "songs": {"baseline": 3.0, "cwl": 1.0, "tns": 2.0},
    }
    assert ranks({}) == {}


def test_the_diagram_and_its_numbers(tmp_path: Path, readable: Callable[[Figure], None]) -> None:
    source = table(tmp_path / "t.csv", GAINS)
    outputs = {form: tmp_path / f"f.{form}" for form in ("pdf", "png", "csv")}
    first: dict[str, bytes] = {}
    for _ in range(2):
        render_figure(figure=SPEC, labels=None, distribution=None, table=source, outputs=outputs)
        made = {form: path.read_bytes() for form, path in outputs.items()}
        assert not first or made == first, "equal bytes"
        first = made
    lines = list(csv.DictReader(outputs["csv"].read_text().splitlines()))
    told = {(line["panel"], line["series"]): float(line["x"]) for line in lines}
    mean = {name: told["", name] for name in ("CWL", "tns", "baseline")}
    assert mean == pytest.approx({"CWL": (1.5 + 1.5 + 1) / 3, "tns": (1.5 + 3 + 2) / 3, "baseline": (3 + 1.5 + 3) / 3})
    # Demsar (2006), table 5: q = 2.343 for three classifiers
    assert told["", "critical difference"] == pytest.approx(2.343 * (3 * 4 / (6 * 3)) ** 0.5, abs=1e-3)
    far = abs(mean["baseline"] - mean["CWL"]) > told["", "critical difference"]
    assert (told["p", "baseline against CWL"] < 0.05) is far is False
    with figure_style.styled():
        readable(draw(source)[0])


def test_what_is_clear_is_told_apart(tmp_path: Path) -> None:
    clear = {(f"set {n}", "et", "mse"): {"cwl": 0.2, "tns": 0.1} for n in range(12)}
    points = {point.series: point for point in draw(table(tmp_path / "t.csv", clear))[1] if point.panel in ("", "p")}
    assert points["baseline against CWL"].x is not None and float(points["baseline against CWL"].x) < 0.001
    assert (points["CWL"].x, points["tns"].x, points["baseline"].x) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("some", [{}, {place: own for place, own in GAINS.items() if place[0] == "films"}])
def test_one_data_set_is_none_to_rank_over(tmp_path: Path, some: dict[Any, Any], readable: Any) -> None:
    keys = some or {("films", "et", "mse"): {}}
    source = table(tmp_path / "t.csv", keys) if some else tmp_path / "empty.csv"
    if not some:
        source.write_text(",".join(COLUMNS) + "\n")
    with figure_style.styled():
        figure, points = draw(source)
        readable(figure)
    assert [point.series for point in points] == ["absent"] and "two of them" in points[0].note


def test_it_reads_the_table_of_its_study() -> None:
    plan = Plan(load({"study": "miniature"}))
    path = f"{plan.root}/tables/beyond_table_3.csv"
    assert plan.figure_inputs("beyond_figure_3") == {"table": path} and plan.figure_reason("beyond_figure_3") == ""
    order = [job.rule for job in plan.jobs if path in (*job.made(), *job.read())]
    assert order[:2] == ["render_table", "render_figure"]
    alone = Plan(load({"study": "miniature", "tables": ["eev_table_1"], "figures": ["beyond_figure_3"]}))
    assert alone.figure_inputs("beyond_figure_3") == {}
    assert alone.figure_settings("beyond_figure_3")["absent"] == "the study does not make the table beyond_table_3"


def test_a_figure_names_a_table_or_a_data_set(tmp_path: Path) -> None:
    for name, text in (("a", "draw: votes\ntable: t"), ("b", "draw: critical_difference\ndataset: d\ntarget: v")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"title: T\nsource: beyond the papers\ncaption: C\n{text}\n")
        with pytest.raises(ConfigError, match="needs a"):
            read_one(path, Entry)


def test_every_process_draws_the_same_bytes(tmp_path: Path) -> None:
    """The library joins treatments in the order of a set, which is another one in each process."""
    names = {f"t{n}": n / 100 for n in range(6)}
    file = table(tmp_path / "t.csv", {(f"d{n}", "et", "mse"): names for n in range(4)})
    code = (
        "import sys; from pathlib import Path; from utopia.figures.render import render_figure\n"
        f"render_figure(figure={SPEC | {'options': {}}!r}, labels=None, distribution=None, table=Path(sys.argv[1]),"
        " outputs={'png': Path(sys.argv[2])})"
    )
    pictures = set()
    for seed in ("1", "2"):  # which join them otherwise
        picture = tmp_path / f"{seed}.png"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(file), str(picture)], env=environment, check=True)
        pictures.add(picture.read_bytes())
    assert len(pictures) == 1
