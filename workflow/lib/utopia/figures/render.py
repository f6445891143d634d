"""Figures as pdf, png and a csv of every plotted number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from utopia import arrays
from utopia.config import registry
from utopia.config.suggest import nearest
from utopia.errors import ConfigError
from utopia.features.read import FeatureReader
from utopia.figures import style as figure_style
from utopia.figures.data import Inputs, Point, mark, points_csv
from utopia.files import read_json, write_text
from utopia.labels.read import Labels

_UNTRAINED = "no fold could be trained: training.json says why"


def render_figure(
    *,
    figure: Mapping[str, Any],
    labels: Path | None,
    distribution: Path | None,
    table: Path | None = None,
    manifest: Path | None = None,
    features: Sequence[Path] = (),
    feature_names: Sequence[str] = (),
    predictions: Mapping[str, Path] | None = None,
    summaries: Mapping[str, Path] | None = None,
    metrics: Mapping[str, Path] | None = None,
    absent: str | None = None,
    outputs: Mapping[str, Path],
    runs: Mapping[str, str] | None = None,
    absent_runs: Mapping[str, str] | None = None,
    feature_reason: str = "",
) -> None:
    """Draw a figure; the same inputs give the same bytes.

    Args:
        figure: {"id", "title", "caption", "draw": a file of `figures/`, "dataset", "target", "options", "roles": those
            of `runs` in the catalogue's order}.
        labels: the data set's labels file; of a drawing across data sets, that of the first.
        distribution: its distribution file; None of a data set that has none.
        table: instead of a data set's files: the csv of a table.
        manifest: the data set's manifest, which has the items' titles; without it ids are shown.
        features: index files of its features; none for a data set of annotations alone.
        feature_names: the features whose rows are concatenated.
        predictions: run id -> predictions file.
        summaries: run id -> training.json, of a drawing that shows what it says.
        metrics: run id -> metrics.csv, likewise.
        absent: why the figure cannot be drawn; then it states that.
        outputs: "pdf", "png", "csv" (any of them) -> path.
        runs: role (`baseline`, `cwl`, `tns_cwl`) -> run id; without it the role is the treatment in the run's id.
        absent_runs: role -> why there are no predictions.
        feature_reason: why there are no features.

    Raises:
        ConfigError: there is no such drawing.
        ComputeError: the labels have no training video to show, or no distribution that the drawing needs.
    """
    runs = ordered(runs or {}, figure)
    known = registry.names_with("figures", "READS")
    if figure["draw"] not in known:
        raise ConfigError(
            f"there is no drawing {figure['draw']!r}{nearest(figure['draw'], known)}",
            where=f"figure {figure['id']}",
            remedy=f"use one of: {', '.join(known)}",
        )
    draw = registry.load("figures", figure["draw"]).draw
    with figure_style.styled():
        if not absent and table is not None:
            (drawn, points), status = draw(table), "drawn"
        elif absent or labels is None:
            drawn, points = _absent(absent or "no labels")
            status = "absent"
        else:
            opened = {role: arrays.load(path) for role, path in _by_role(predictions, runs).items()}
            holes = {role: _UNTRAINED for role, file in opened.items() if not file.meta.get("folds", True)}
            trained = {
                kind: {role: path for role, path in _by_role(files, runs).items() if role not in holes}
                for kind, files in (("summaries", summaries), ("metrics", metrics))
            }
            inputs = Inputs(
                figure,
                Labels(labels),
                arrays.load(distribution) if distribution is not None else None,
                features=FeatureReader(features) if features and feature_names else None,
                feature_names=tuple(feature_names),
                feature_reason=feature_reason,
                predictions={role: file for role, file in opened.items() if role not in holes},
                absent_runs=dict(sorted({**(absent_runs or {}), **holes}.items())),  # a record has its own order
                summaries={role: read_json(path) for role, path in trained["summaries"].items()},
                metrics=trained["metrics"],
                names=_titles(manifest),
            )
            drawn, points = draw(inputs)
            status = "drawn"
        numbers = points_csv(figure["id"], status, points)
        pictures = {suffix: Path(path) for suffix, path in outputs.items() if suffix != "csv"}
        figure_style.save(drawn, pictures, mark(numbers))
    if "csv" in outputs:
        write_text(outputs["csv"], numbers)


def ordered(runs: Mapping[str, str], figure: Mapping[str, Any]) -> dict[str, str]:
    """Runs by role in the order that the settings name: a record, from which it is drawn again, keeps none."""
    order = list(figure.get("roles") or runs)
    return dict(sorted(runs.items(), key=lambda role_run: order.index(role_run[0])))


def _by_role(files: Mapping[str, Path] | None, runs: Mapping[str, str]) -> dict[str, Path]:
    """Files of runs by role, in the order of the roles; where no run has one, its treatment is its role."""
    files = files or {}
    if runs:
        return {role: files[run] for role, run in runs.items() if run in files}
    return {run.split("@")[0].split(".")[-1]: path for run, path in files.items()}


def _titles(manifest: Path | None) -> dict[str, str]:
    return {item["id"]: item["name"] for item in read_json(manifest)["items"]} if manifest is not None else {}


def _absent(reason: str) -> tuple[Figure, list[Point]]:
    drawn = figure_style.blank(1.3)
    figure_style.statement(drawn.subplots(), f"Not drawn: {reason}", width=50)
    return drawn, [Point("", "absent", note=reason)]
