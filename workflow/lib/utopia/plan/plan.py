"""What is to be made: the union of the runs behind the tables and figures asked for, on the data that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from utopia.config import registry
from utopia.config.study import PRECOMPUTED, StudyBase
from utopia.config.suggest import nearest
from utopia.errors import ConfigError
from utopia.features import cards
from utopia.inputs.miniature import draws_features
from utopia.plan import catalog, claims, comparison_rows, expectations, jobs
from utopia.plan.availability import DatasetPlan, generation, leave_out, obstacle, selected, survey
from utopia.plan.catalog import Change, Column, Figure, Row, RunChoice, Table
from utopia.plan.claims import Claim
from utopia.plan.jobs import PlannedJob
from utopia.plan.runs import Run, batches, distribution_key, resolve

TABLE_SUFFIXES = ("csv", "md", "tex", "html")
FIGURE_SUFFIXES = ("pdf", "png", "csv")


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a table with the run behind it."""

    table: str
    row: Row
    column: Column
    run: Run | None
    pairs: tuple[tuple[Run, Run], ...] = ()
    """Of a derived cell: the run with the treatment and the one without, for each model."""
    compared: tuple[tuple[str, Run], ...] = ()
    """Of a claim that compares cells: these, by id, with their runs."""

    @property
    def id(self) -> str:
        """`table/row/column`."""
        return f"{self.table}/{self.row.id}/{self.column.id}"

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run behind the cell; none of one that is only quoted."""
        derived = (*(run for pair in self.pairs for run in pair), *(run for _, run in self.compared))
        return (self.run,) if self.run is not None else derived


class Plan:
    """Everything that a study makes. Reading it touches names and sizes of files only."""

    def __init__(self, study: StudyBase) -> None:
        self.study: StudyBase = study
        self.root: Path = study.root
        self.catalog: dict[str, Table] = catalog.tables()
        self.tables: dict[str, Table] = selected("tables", self.catalog, study.tables, study.study)
        self.figures: dict[str, Figure] = selected("figures", catalog.figures(), study.figures, study.study)
        shown = self._shown()
        # series that are drawn for a question are nobody's missing data where it is not asked
        known = [name for name in registry.names("datasets") if name in shown or not draws_features(name)]
        self.datasets: dict[str, DatasetPlan] = {name: survey(study, name) for name in known}
        self.left_out = leave_out(self.tables, self.figures, filter(self._is_kept, self.datasets))
        self.runs: dict[str, Run] = {}
        self._resolved: dict[tuple[str, str, str], Run] = {}
        self.absent_runs: dict[str, str] = {}
        self.cells = [cell for name, table in self.tables.items() for cell in self._cells(name, table)]
        self.comparisons = comparison_rows.of_plan(self.cells)
        self.tables = {name: comparison_rows.filled(table, self.comparisons) for name, table in self.tables.items()}
        self.cells += comparison_rows.cells(self.tables, self.comparisons)
        self.figure_runs: dict[str, dict[str, Run]] = {
            name: {
                role: self.add_run(figure.dataset_of(role), choice, {}, f"figure {name}, run {role!r}")
                for role, choice in figure.runs.items()
            }
            for name, figure in self.figures.items()
        }
        self.batches: dict[str, list[Run]] = batches(self.runs.values(), study.engine.runs)

    @cached_property
    def asked(self) -> list[str]:
        """The data sets that the study's tables and figures show; the others are nobody's concern here."""
        return [name for name in filter(self._shown().__contains__, self.datasets) if self.study.is_asked(name)]

    def _shown(self) -> set[str]:
        return set().union(*(t.datasets for t in self.tables.values()), *(f.datasets for f in self.figures.values()))

    def _is_kept(self, dataset: str) -> bool:
        """Whether the tables and figures of a data set alone are made."""
        return self.study.is_asked(dataset) and (self.study.without_data == "hole" or self.datasets[dataset].available)

    def _cells(self, name: str, table: Table) -> list[PlannedCell]:
        cells = []
        for row in table.rows:
            for column in table.columns:
                where = f"table {name}, row {row.id!r}"
                cell = PlannedCell(name, row, column, None)
                if row.columns is None or column.id in row.columns:
                    if row.claim is not None:
                        cell = self._claimed(cell, row.claim, where)
                    elif row.change is not None:
                        cell = replace(cell, pairs=self._pairs(row.change, column, where))
                    elif row.expect is not None:
                        cell = self._expected(cell, row.expect.dataset, where)
                    elif (choice := table.choice(row)) is not None:
                        cell = replace(cell, run=self.add_run(column.dataset, choice, column.set, where))
                cells.append(cell)
        return cells

    def _expected(self, cell: PlannedCell, dataset: str, where: str) -> PlannedCell:
        """The cell of an expectation: a run, or a run and the one that it must surpass."""
        assert cell.row.run is not None
        run = self.add_run(dataset, cell.row.run, {}, where)
        if cell.row.over is None:
            return replace(cell, run=run)
        return replace(cell, pairs=((run, self.add_run(dataset, cell.row.over, {}, where)),))

    def _pairs(self, change: Change, column: Column, where: str) -> tuple[tuple[Run, Run], ...]:
        def run(model: str, treatment: str) -> Run:
            return self.add_run(column.dataset, RunChoice(model=model, treatment=treatment), column.set, where)

        return tuple((run(model, change.treatment), run(model, change.against)) for model in change.models)

    def _claimed(self, cell: PlannedCell, claim: Claim, where: str) -> PlannedCell:
        """The cell of a claim, with the runs that it is put to."""
        if claim.gain is not None:
            _, row, column = claims.cell(self.catalog, claim.gain)
            assert row.change is not None, f"{where}: {claim.gain} is not derived"
            return replace(cell, pairs=self._pairs(row.change, column, where))
        compared = {}
        for test in claims.tests(claim, self.catalog):
            for number, place in enumerate((test["of"], *test["others"])):
                table, row, column = claims.cell(self.catalog, place)
                choice = table.choice(row) if row.columns is None or column.id in row.columns else None
                if choice is not None:
                    compared[place] = self.add_run(column.dataset, choice, column.set, where)
                elif number == 0:
                    return cell  # what the claim is about is not measured
        return replace(cell, compared=tuple(compared.items()))

    def add_run(self, dataset: str, choice: RunChoice, extra: dict[str, Any], where: str) -> Run:
        """The run of a choice, which is planned from now on, or is in `absent_runs` with the reason."""
        if dataset not in self.datasets:
            raise ConfigError(f"there is no data set {dataset!r}{nearest(dataset, self.datasets)}", where=where)
        asked = dataset, choice.model_dump_json(), repr(extra)  # most cells ask for a run that another has asked for
        if asked in self._resolved:
            return self._resolved[asked]
        dataset_plan = self.datasets[dataset]
        run = self._resolved[asked] = resolve(self.study, dataset, dataset_plan.features, choice, extra, where)
        reason = dataset_plan.reason or obstacle(run, dataset_plan, self.study.dataset(dataset).options)
        if reason:
            self.absent_runs[run.id] = reason
        else:
            self.runs[run.id] = run
        return run

    # -- where things are

    def manifest(self, dataset: str) -> str:
        """The manifest of a data set."""
        return f"{self.root}/inputs/{dataset}.json"

    def labels(self, dataset: str, choice: str = "") -> str:
        """The labels file of a data set, or one of some of its annotators (`Run.labels_key`)."""
        return f"{self.root}/labels/{dataset}/{'.'.join(filter(None, ['labels', choice]))}.safetensors"

    def labellings(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Every choice of annotators of a run: its data set and name, and its settings."""
        chosen = (run for run in self.runs.values() if run.labels_key)
        return {(run.dataset, run.labels_key): run.labelling.model_dump(mode="json") for run in chosen}

    def distribution(self, dataset: str, key: str) -> str:
        """A distribution file of a data set."""
        return f"{self.root}/labels/{dataset}/distribution.{key}.safetensors"

    def feature_indexes(self, dataset: str) -> list[str]:
        """The index files of the features chosen for a data set."""
        dataset_plan = self.datasets[dataset]
        folder = f"{self.root}/features/{dataset}"
        return [f"{folder}/shard-{i:04d}.json" for i in range(len(dataset_plan.shards))] + [
            f"{folder}/{feature}.json" for feature in dataset_plan.precomputed
        ]

    def run_file(self, run: str, name: str) -> str:
        """A file of a run."""
        return f"{self.root}/runs/{run}/{name}"

    def distributions(self) -> dict[str, dict[str, Any]]:
        """Settings of every distribution file, by its path."""
        settings_of: dict[str, dict[str, Any]] = {}
        for name, dataset_plan in self.datasets.items():
            if dataset_plan.available and self.study.dataset(name).distribution is not None:
                settings, window = self._default_distribution(name)
                settings_of[self.default_distribution(name)] = {"settings": settings, "window": window}
        for run in (run for run in self.runs.values() if run.distribution and run.reference is None):
            path = self.distribution(run.dataset, run.distribution_key)
            settings_of[path] = {"settings": dict(run.distribution), "window": run.window}
        return settings_of

    def _default_distribution(self, dataset: str) -> tuple[dict[str, Any], int]:
        settings = self.study.dataset(dataset).distribution.model_dump(mode="json")
        return settings, int(self.study.samplers.tns.window)  # type: ignore[attr-defined]

    def default_distribution(self, dataset: str) -> str:
        """The distribution file of a data set at the configuration's own settings; what figures show."""
        return self.distribution(dataset, distribution_key(*self._default_distribution(dataset)))

    def table_runs(self, table: str) -> dict[str, str]:
        """The metrics file of every run of a table that can be made, by run id."""
        ids = sorted({run.id for cell in self.cells if cell.table == table for run in cell.runs if run.id in self.runs})
        return {run: self.run_file(run, "metrics.csv") for run in ids}

    def table_summaries(self, table: str) -> list[str]:
        """The training summaries behind a table; they say which items each run could use."""
        trained = (run for run in self.table_runs(table) if self.runs[run].reference is None)
        return [self.run_file(run, "training.json") for run in trained]

    def figure_inputs(self, figure: str) -> dict[str, Any]:
        """The input files of a figure, by role; nothing where the data set is absent."""
        spec = self.figures[figure]
        if self.figure_reason(figure):
            return {}
        if spec.table:
            return {"table": f"{self.root}/tables/{spec.table}.csv"}
        first = next(name for name in spec.datasets if self.datasets[name].available)
        runs = [run.id for run in self.figure_runs[figure].values() if run.id in self.runs]
        distribution = None if spec.across else self.study.dataset(first).distribution
        reads = catalog.drawing(spec.draw).reads
        return {
            "manifest": self.manifest(first),
            "labels": self.labels(first),
            **({"distribution": self.default_distribution(first)} if distribution is not None else {}),
            "summaries": [self.run_file(run, "training.json") for run in runs if "summaries" in reads],
            "metrics": [self.run_file(run, "metrics.csv") for run in dict.fromkeys(runs) if "metrics" in reads],
            "features": self.feature_indexes(first) if "features" in reads else [],
            "predictions": [] if spec.across else [self.run_file(run, "predictions.safetensors") for run in runs],
        }

    def submissions(self) -> list[str]:
        """The runs that a challenge is given: those of reactions that learn from all labelled videos."""
        return sorted(
            run.id
            for run in self.runs.values()
            if run.protocol == "reactions"
            and run.settings.get("fit_on_all", 0)
            and "unlabelled" not in self.datasets[run.dataset].missing
        )

    def submission_inputs(self, run: str) -> dict[str, Any]:
        """The input files of a run's submission, by role.

        Raises:
            KeyError: the study has no such submission.
        """
        if run not in self.submissions():
            raise KeyError(run)
        data = self.datasets[self.runs[run].dataset]
        module = registry.load("datasets", data.name)
        asked = module.PARTS[module.UNLABELLED]
        return {
            "predictions": self.run_file(run, "predictions.safetensors"),
            "summary": self.run_file(run, "training.json"),
            "labels": self.labels(data.name),
            "manifest": self.manifest(data.name),
            "table": [str(path) for path in data.inputs if data.generated or path.name.lower() == asked],
        }

    def weights(self, dataset: str) -> list[str]:
        """The weights files that the extractors of a data set read."""
        chosen = (self.study.features[name] for name in self.datasets[dataset].features)  # type: ignore[attr-defined]
        names = {card for feature in chosen if feature.extractor not in PRECOMPUTED for card in cards.read(feature)}
        return [*self.card_files(names), *(self.tuned(name) for name in self.fine_tuned(dataset))]

    def card_files(self, names: Iterable[str]) -> list[str]:
        """The files of some cards of weights."""
        from utopia.features.weights import find

        folder = self.study.data / "weights" if self.study.data else None
        return sorted(str(find(name, folder).path) for name in names)

    def fine_tuned(self, dataset: str) -> list[str]:
        """The features of a data set whose network the study fine-tunes first."""
        known = self.study.features  # type: ignore[attr-defined]
        return [name for name in self.datasets[dataset].features if getattr(known[name], "fine_tune", None) is not None]

    def tuned(self, feature: str) -> str:
        """The weights that the study makes for a feature."""
        return f"{self.root}/features/weights/{feature}.safetensors"

    def targets(self) -> list[str]:
        """The files that the study is asked for."""
        tables = [f"{self.root}/tables/{name}.{suffix}" for name in self.tables for suffix in TABLE_SUFFIXES]
        figures = [f"{self.root}/figures/{name}.{suffix}" for name in self.figures for suffix in FIGURE_SUFFIXES]
        submissions = [
            self.run_file(run, f"submission.{suffix}") for run in self.submissions() for suffix in ("csv", "json")
        ]
        report = [f"{self.root}/audit/coverage.csv", f"{self.root}/report/index.html"]
        return [*tables, *figures, *submissions, *report]

    # -- jobs

    @cached_property
    def jobs(self) -> list[PlannedJob]:
        """The jobs that the targets need, upstream first."""
        return jobs.needed(self)

    def job(self, rule: str, names: Mapping[str, str]) -> PlannedJob:
        """The inputs and outputs of a job.

        Raises:
            KeyError: the study has no such job.
        """
        return jobs.job(self, rule, names)

    def params(self, rule: str, names: Mapping[str, str]) -> dict[str, Any]:
        """Everything that a job is given besides files: settings, and the fingerprints of the code that it depends on.

        Raises:
            KeyError: the study has no such job.
        """
        return jobs.params(self, rule, names)

    def settings(self, rule: str, names: Mapping[str, str]) -> dict[str, Any]:
        """`params` without fingerprints of code."""
        return jobs.settings(self, rule, names)

    def generated(self, dataset: str) -> dict[str, Any]:
        """What the miniature's data set is generated from (JSON-able).

        Raises:
            KeyError: the study generates no such data set.
        """
        if (how := generation(self.study, dataset)) is None:
            raise KeyError(dataset)
        return {"count": how.items[dataset], "settings": how.size(dataset), "seed": self.study.seed}

    def table_settings(self, name: str) -> dict[str, Any]:
        """A table as the rendering job needs it (JSON-able)."""
        table = self.tables[name]
        cells = {(cell.row.id, cell.column.id): cell for cell in self.cells if cell.table == name}
        rows = comparison_rows.settings(table, self.comparisons) or [
            self._row_settings(table, row, {c.id: cells[row.id, c.id] for c in table.columns}) for row in table.rows
        ]
        mentioned = {run.id: run for cell in cells.values() for run in cell.runs}
        return {
            "table": {
                "id": name,
                "title": table.title,
                "source": table.source,
                "caption": table.caption,
                "published_repeats": table.repeats,
                **({"seed": self.study.seed} if any(column.statistic for column in table.columns) else {}),
                "keys": [{"id": key, "title": title} for key, title in table.key_titles.items()],
                "columns": [column.model_dump(mode="json", exclude={"set"}) for column in table.columns],
                "rows": rows,
            },
            "absent": {run: self.absent_runs[run] for run in sorted(mentioned) if run in self.absent_runs},
            "notes": {run: self.not_comparable(mentioned[run]) for run in sorted(mentioned)},
            "repeats": self.study.repeats,
        }

    def _row_settings(self, table: Table, row: Row, cells: Mapping[str, PlannedCell]) -> dict[str, Any]:
        pairs = {column: [[treated.id, other.id] for treated, other in cell.pairs] for column, cell in cells.items()}
        settings: dict[str, Any] = {
            "id": row.id,
            "title": row.title,
            "name": table.full_name(row),
            "group": row.group,
            "keys": {key.id: text for key in table.keys if (text := table.key_text(row, key))},
            "note": f"Not in the paper. {row.note}".strip() if row.printed is False else row.note,
            "against": row.against,
            "runs": {column: cell.run.id for column, cell in cells.items() if cell.run is not None},
            "changes": {column: each for column, each in pairs.items() if each},
            "published": dict(row.published),
        }
        if row.measure:
            settings["as"] = {column.id: {"metric": f"{column.metric}.{row.measure}"} for column in table.columns}
        if row.claim is not None:
            runs = {column: {place: run.id for place, run in cell.compared} for column, cell in cells.items()}
            settings |= claims.row_settings(row.claim, self.catalog, runs)
            settings["note"] = f"{row.claim.oddity} {row.note}".strip()
        if row.expect is not None:
            settings |= expectations.row_settings(row.expect, row.over, cells)
        return settings

    def not_comparable(self, run: Run) -> list[str]:
        """Why a run's values cannot be compared with published values; what is known before the run."""
        dataset_plan = self.datasets[run.dataset]
        return [*dataset_plan.protocol_notes, *(dataset_plan.notes if run.features or dataset_plan.generated else ())]

    def figure_reason(self, name: str) -> str:
        """Why a figure cannot be drawn; empty where it can."""
        figure = self.figures[name]
        if not figure.table:
            reasons = [self.datasets[dataset].reason for dataset in figure.datasets]
            return "" if "" in reasons else "; ".join(dict.fromkeys(reasons))
        if figure.table not in self.tables:
            return f"the study does not make the table {figure.table}"
        return "" if self.table_runs(figure.table) else f"no run of the table {figure.table} can be made"

    def figure_settings(self, name: str) -> dict[str, Any]:
        """A figure as the drawing job needs it (JSON-able)."""
        figure, runs = self.figures[name], self.figure_runs[name]
        dataset_plan = self.datasets.get(figure.dataset)
        return {
            "figure": {
                "id": name,
                **figure.model_dump(mode="json", exclude={"runs"}),
                "roles": list(runs),  # in the catalogue's order, which a record does not keep of mappings
                **({"seed": self.study.seed} if catalog.drawing(figure.draw).draws_samples else {}),
            },
            "absent": self.figure_reason(name) or None,
            "runs": {role: run.id for role, run in runs.items() if run.id in self.runs},
            "absent_runs": {role: self.absent_runs[run.id] for role, run in runs.items() if run.id in self.absent_runs},
            "feature_names": list(dataset_plan.features) if dataset_plan else [],
            "feature_reason": dataset_plan.feature_reason if dataset_plan else "",
        }
