"""The rules of the workflow: how the files and parameters of each rule's jobs follow from the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from utopia import fingerprint
from utopia.config.load import RESOURCES
from utopia.plan import catalog
from utopia.plan.availability import DatasetPlan
from utopia.plan.feature_rules import FEATURES
from utopia.plan.rule import Names, Paths, Rule, caption, card, component, folder, label_range, options, relative
from utopia.plan.runs import LABEL_STUDY, Run

if TYPE_CHECKING:
    from utopia.plan.plan import Plan


# -- runs


def _runs(plan: Plan, names: Names) -> list[Run]:
    """The runs of a batch."""
    return plan.batches[names["batch"]]


def _files(plan: Plan, names: Names, name: str) -> list[str]:
    return [plan.run_file(run.id, name) for run in _runs(plan, names)]


def training_mode(runs: list[Run]) -> str:
    """The module that says how these runs are trained: on clips where labels are reactions, else on whole series."""
    return "clips" if runs[0].protocol == "reactions" else "series"


def _training_modules(run: Run) -> list[str]:
    """The modules that determine a run's numbers."""
    chosen = {"models": run.settings["model"], "losses": run.settings["loss"], "samplers": run.settings["sampler"]}
    components = [component(kind, name) for kind, name in chosen.items() if name]
    return [f"utopia.training.{training_mode([run])}", "utopia.training.run", *components]


def _labels(plan: Plan, run: Run) -> str:
    """The labels file of a run."""
    return plan.labels(run.dataset, run.labels_key)


def _training(plan: Plan, names: Names) -> dict[str, Any]:
    runs = _runs(plan, names)
    return {
        "mode": training_mode(runs),
        "runs": [dict(run.settings) for run in runs],
        "folders": [plan.run_file(run.id, "")[:-1] for run in runs],
    }


def _training_code(plan: Plan, names: Names, given: dict[str, Any]) -> dict[str, Any]:
    """`code` makes a run forget the replicas that other code trained, and no others."""
    codes = [fingerprint.fingerprint(*_training_modules(run)) for run in _runs(plan, names)]
    return {**given, "runs": [{**run, "code": code} for run, code in zip(given["runs"], codes, strict=True)]}


def _training_inputs(plan: Plan, names: Names) -> dict[str, Paths]:
    runs = _runs(plan, names)
    dataset = runs[0].dataset
    return {
        "labels": _labels(plan, runs[0]),
        "features": plan.feature_indexes(dataset),
        "distributions": [plan.distribution(dataset, run.distribution_key) for run in runs if run.distribution],
    }


def _metrics_settings(plan: Plan, run: Run) -> dict[str, Any]:
    """What the metrics of a run depend on, besides its predictions."""
    kept = ("id", "targets", "repeats", "label_filter")
    return {**{name: run.settings[name] for name in kept}, **_evaluation_settings(plan)}


def _evaluation_settings(plan: Plan) -> dict[str, Any]:
    """How predictions are judged."""
    return plan.study.evaluation.model_dump(exclude={"label_draws", "random_draws"})


def _reference(plan: Plan, names: Names) -> Run:
    return plan.runs[f"{names['dataset']}.reference.{names['reference']}"]


# -- outputs


def _page_inputs(plan: Plan, names: Names) -> dict[str, Paths]:
    behind = dict(run_and_file for name in plan.tables for run_and_file in plan.table_runs(name).items())
    trained = [run for run in sorted(behind) if plan.runs[run].reference is None]
    return {
        "tables": [f"{plan.root}/tables/{name}.csv" for name in plan.tables],
        "figures": [f"{plan.root}/figures/{name}.png" for name in plan.figures],
        "runs": sorted([*behind.values(), *(plan.run_file(run, "training.json") for run in trained)]),
        "predictions": [plan.run_file(run, "predictions.safetensors") for run in trained],
        "labels": sorted({plan.labels(plan.runs[run].dataset) for run in trained}),
        "coverage": f"{plan.root}/audit/coverage.csv",
        "template": sorted(relative(path) for path in RESOURCES.glob("page/*")),
    }


def _asked(plan: Plan) -> dict[str, DatasetPlan]:
    """The data sets that the tables and figures ask for, whether they are there or not."""
    columns = (name for table in plan.tables.values() for name in table.datasets)
    runs = (run.split(".", 1)[0] for run in (*plan.runs, *plan.absent_runs))
    names = {*columns, *runs, *(name for figure in plan.figures.values() for name in figure.datasets)}
    return {name: survey for name, survey in plan.datasets.items() if name in names}


def _coverage_inputs(plan: Plan, names: Names) -> dict[str, Paths]:
    """Where no run and no figure reads features of a data set, nothing is extracted only to be counted."""
    asked, figures = _asked(plan), plan.figures.values()
    read = {run.dataset for run in plan.runs.values() if run.features}
    read |= {figure.dataset for figure in figures if "features" in catalog.drawing(figure.draw).reads}
    present = [name for name, survey in asked.items() if survey.available]
    return {
        "manifests": [plan.manifest(name) for name in present],
        "indexes": [path for name in present if name in read for path in plan.feature_indexes(name)],
        "cards": [card(name) for name, survey in asked.items() if not survey.available],
    }


RULES: dict[str, Rule] = {
    "generate_miniature": Rule(
        script="generate_miniature",
        modules=lambda plan, w: ["utopia.inputs.miniature", f"utopia.inputs.miniature.{w['dataset']}"],
        settings=lambda plan, w: {"settings": plan.generated(w["dataset"])},
        inputs=lambda plan, w: {},
        outputs=lambda plan, w: {"": [f"{plan.root}/inputs/raw/{w['dataset']}"]},
    ),
    "list_inputs": Rule(
        script="list_inputs",
        modules=lambda plan, w: ["utopia.inputs.manifest", component("datasets", w["dataset"])],
        settings=lambda plan, w: {
            "folder": folder(plan, w["dataset"]),
            "options": options(plan, w["dataset"]),
            "media": plan.datasets[w["dataset"]].media[1],
        },
        inputs=lambda plan, w: {
            "files": [str(path) for path in plan.datasets[w["dataset"]].inputs],
            **({"newest": str(newest)} if (newest := plan.datasets[w["dataset"]].media[0]) else {}),
            "card": card(w["dataset"]),
        },
        outputs=lambda plan, w: {"": [plan.manifest(w["dataset"])]},
    ),
    "build_labels": Rule(
        script="build_labels",
        modules=lambda plan, w: ["utopia.labels.build", component("datasets", w["dataset"])],
        settings=lambda plan, w: {
            "folder": folder(plan, w["dataset"]),
            "options": options(plan, w["dataset"]),
            "distribution": label_range(plan, w["dataset"]),
        },
        inputs=lambda plan, w: {"manifest": plan.manifest(w["dataset"]), "card": card(w["dataset"])},
        outputs=lambda plan, w: {"": [plan.labels(w["dataset"])]},
    ),
    "choose_annotators": Rule(
        script="choose_annotators",
        modules=lambda plan, w: ["utopia.labels.choose"],
        settings=lambda plan, w: {
            "choice": plan.labellings()[w["dataset"], w["choice"]],
            "seed": plan.study.seed,
        },
        inputs=lambda plan, w: {"labels": plan.labels(w["dataset"])},
        outputs=lambda plan, w: {"": [plan.labels(w["dataset"], w["choice"])]},
    ),
    "approximate_distribution": Rule(
        script="approximate_distribution",
        modules=lambda plan, w: ["utopia.distribution.approximate"],
        settings=lambda plan, w: {"settings": plan.distributions()[plan.distribution(w["dataset"], w["key"])]},
        inputs=lambda plan, w: {"labels": plan.labels(w["dataset"], w["key"].partition("@")[2])},
        outputs=lambda plan, w: {"": [plan.distribution(w["dataset"], w["key"])]},
    ),
    **FEATURES,
    "train": Rule(
        script="train_runs",
        modules=lambda plan, w: sorted({module for run in _runs(plan, w) for module in _training_modules(run)}),
        settings=_training,
        inputs=_training_inputs,
        outputs=lambda plan, w: {
            "predictions": _files(plan, w, "predictions.safetensors"),
            "summaries": _files(plan, w, "training.json"),
        },
        within=_training_code,
    ),
    "evaluate": Rule(
        script="evaluate_runs",
        modules=lambda plan, w: ["utopia.evaluation.protocols", component("datasets", _runs(plan, w)[0].dataset)],
        settings=lambda plan, w: {"runs": [_metrics_settings(plan, run) for run in _runs(plan, w)]},
        inputs=lambda plan, w: {
            "labels": _labels(plan, _runs(plan, w)[0]),
            "predictions": _files(plan, w, "predictions.safetensors"),
        },
        outputs=lambda plan, w: {"": _files(plan, w, "metrics.csv")},
    ),
    "evaluate_reference": Rule(
        script="evaluate_reference",
        modules=lambda plan, w: [
            f"utopia.evaluation.{'label_study' if _reference(plan, w).reference == LABEL_STUDY else 'references'}",
            component("datasets", w["dataset"]),
        ],
        settings=lambda plan, w: {"run": {**_reference(plan, w).settings, **_evaluation_settings(plan)}},
        inputs=lambda plan, w: {
            "labels": _labels(plan, _reference(plan, w)),
            **({"features": plan.feature_indexes(w["dataset"])} if _reference(plan, w).features else {}),
        },
        outputs=lambda plan, w: {"": [plan.run_file(_reference(plan, w).id, "metrics.csv")]},
    ),
    "write_submission": Rule(
        script="write_submission",
        modules=lambda plan, w: ["utopia.evaluation.submission", component("datasets", plan.runs[w["run"]].dataset)],
        settings=lambda plan, w: {
            "dataset": plan.runs[w["run"]].dataset,
            "folder": folder(plan, plan.runs[w["run"]].dataset),
            "options": options(plan, plan.runs[w["run"]].dataset),
        },
        inputs=lambda plan, w: plan.submission_inputs(w["run"]),
        outputs=lambda plan, w: {
            "csv": plan.run_file(w["run"], "submission.csv"),
            "report": plan.run_file(w["run"], "submission.json"),
        },
    ),
    "render_table": Rule(
        script="render_table",
        modules=lambda plan, w: ["utopia.tables.render", "utopia.evaluation.summaries"],
        settings=lambda plan, w: {
            "settings": plan.table_settings(w["table"]),
            "runs": list(plan.table_runs(w["table"])),
            "caption": caption(plan, w["table"]),
        },
        inputs=lambda plan, w: {
            "metrics": list(plan.table_runs(w["table"]).values()),
            "summaries": plan.table_summaries(w["table"]),
        },
        outputs=lambda plan, w: {
            form: f"{plan.root}/tables/{w['table']}.{form}" for form in ("csv", "md", "tex", "html")
        },
    ),
    "render_figure": Rule(
        script="render_figure",
        modules=lambda plan, w: ["utopia.figures.render", component("figures", plan.figures[w["figure"]].draw)],
        settings=lambda plan, w: {"settings": plan.figure_settings(w["figure"]), "caption": caption(plan, w["figure"])},
        inputs=lambda plan, w: plan.figure_inputs(w["figure"]),
        outputs=lambda plan, w: {form: f"{plan.root}/figures/{w['figure']}.{form}" for form in ("pdf", "png", "csv")},
    ),
    "report_coverage": Rule(
        script="report_coverage",
        modules=lambda plan, w: ["utopia.inputs.coverage"],
        settings=lambda plan, w: {
            "absent": {name: survey.reason for name, survey in _asked(plan).items() if not survey.available}
        },
        inputs=_coverage_inputs,
        outputs=lambda plan, w: {"": [f"{plan.root}/audit/coverage.csv"]},
    ),
    "render_page": Rule(
        script="render_page",
        modules=lambda plan, w: ["utopia.report.page"],
        settings=lambda plan, w: {
            "study": plan.study.study,
            "tables": list(plan.tables),
            "figures": list(plan.figures),
        },
        inputs=_page_inputs,
        outputs=lambda plan, w: {"": [f"{plan.root}/report/index.html"]},
    ),
}
"""Every rule, upstream first."""
