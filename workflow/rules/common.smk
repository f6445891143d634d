import os
import shlex
import sys

from utopia.provenance import environment, fingerprint

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"

# Snakemake starts scripts by the path of Python, and does not quote it: from a folder with a blank in its name that fails.
if shlex.quote(sys.executable) != sys.executable:
    sys.executable = os.path.relpath(sys.executable)

# The logger plugin and jobs learn from it where the study's own folder is.
os.environ["UTOPIA_STUDY_FOLDER"] = str(PLAN.root)


def code(script, *modules):
    """The fingerprint of a script and of the modules that it reaches: a parameter, so that a real edit reruns the job."""
    return fingerprint.code(*modules, files=(SCRIPTS / f"{script}.py",))


def scaled(amount, most=None):
    """What a job asks for of a resource: twice as much with each attempt, so that a retry of a killed job can succeed."""
    return lambda wildcards, attempt: min(
        amount * 2 ** (attempt - 1), most or amount * 8
    )


def this(wildcards, attempt):
    """The number of the attempt, from 1: a costly job that has failed by itself does not work a second time."""
    return attempt


def gpu(wildcards):
    """How many GPUs a job with networks asks for. `device: auto` means one, unless it would run here and there is none."""
    here = workflow.executor_plugin is None or workflow.local_exec
    absent = STUDY.device == "auto" and here and not environment.has_gpu()
    return 0 if STUDY.device == "cpu" or absent else 1


def component(kind, name):
    """The module of a component that only the configuration names."""
    return f"utopia.{kind}.{name}"


def caption(name):
    """The words under a table or figure in Snakemake's own report."""
    path = Path(workflow.basedir) / "workflow" / "report" / f"{name}.rst"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def from_study(function):
    """An input or parameter function that turns the plan's errors into messages instead of tracebacks."""

    def called(wildcards):
        try:
            return function(wildcards)
        except KeyError as error:
            raise WorkflowError(
                f"{error.args[0]!r} is not part of the study {STUDY.study!r}; `utopia plan` lists what is"
            ) from None

    return called


def card(wildcards):
    """A data set's card: its official list, folds and checksums. Relative, so that a checkout may move."""
    cards = Path(workflow.basedir) / "workflow" / "resources" / "datasets"
    return os.path.relpath(cards / f"{wildcards.dataset}.yaml")


def manifest_inputs(wildcards):
    return [str(path) for path in PLAN.datasets[wildcards.dataset].inputs]


def dataset_folder(wildcards):
    return str(PLAN.datasets[wildcards.dataset].folder)


def dataset_options(wildcards):
    return STUDY.dataset(wildcards.dataset).options.model_dump(mode="json")


def label_range(wildcards):
    """The label range of the study; empty where the data set's card has it, because there is no distribution."""
    distribution = STUDY.dataset(wildcards.dataset).distribution
    return (
        distribution.model_dump(mode="json", include={"low", "high"})
        if distribution
        else {}
    )


def extracted_features(wildcards):
    """Settings of the features to extract; `code` makes the store forget what other code extracted."""
    chosen = {
        name: STUDY.features[name] for name in PLAN.datasets[wildcards.dataset].features
    }
    return {
        name: {
            **feature.model_dump(mode="json", exclude={"normalise", "note"}),
            "code": fingerprint.fingerprint(
                component("extractors", feature.extractor),
                "utopia.media.decoding",
                "utopia.media.audio",
                "utopia.features.rows",
                "utopia.extractors._precision",
            ),
        }
        for name, feature in chosen.items()
        if feature.extractor not in PRECOMPUTED
    }


def shared_inputs(runs):
    """The inputs that all runs of a pack stand on."""
    dataset = runs[0].dataset
    return {
        "labels": PLAN.labels(dataset),
        "features": PLAN.feature_indexes(dataset),
        "distributions": [
            PLAN.distribution(dataset, run.distribution_key)
            for run in runs
            if run.distribution
        ],
    }


def way(runs):
    """The module that says how these runs are trained: on clips where labels are reactions, else on whole series."""
    return "clips" if runs[0].protocol == "reactions" else "frames"


def training_memory(runs):
    """Megabytes that the training of these runs takes. Clips keep all features at the model's rate in memory: of EEV's 3,800
    videos 7 GB at one step per second."""
    if runs[0].protocol != "reactions":
        return 4000
    rate = runs[0].settings["model_config"]["training"]["clips"]["rate"]
    videos = len(PLAN.datasets[runs[0].dataset].with_video)
    return int(3000 + 2.5 * rate * videos)


def training_modules(run):
    """The modules that determine a run's numbers."""
    chosen = [
        ("models", run.settings["model"]),
        ("losses", run.settings["loss"]),
        ("samplers", run.settings["sampler"]),
    ]
    return [
        f"utopia.training.{way([run])}",
        "utopia.training.run",
        *(component(kind, name) for kind, name in chosen if name),
    ]


def trained_settings(runs):
    """The settings of some runs; `code` makes a run forget the replicas that other code trained, and no others."""
    return [
        {**run.settings, "code": fingerprint.fingerprint(*training_modules(run))}
        for run in runs
    ]


def judged_settings(run):
    """What the metrics of a run depend on, besides its predictions."""
    return {
        **{
            name: run.settings[name]
            for name in ("id", "targets", "repeats", "label_filter")
        },
        **STUDY.evaluation.model_dump(),
    }


def page_runs():
    """The small files of runs that say of each replica behind a number what it was."""
    return sorted(
        {
            path
            for name in PLAN.tables
            for path in (*PLAN.table_runs(name).values(), *PLAN.table_summaries(name))
        }
    )


def page_resources():
    """What the page is made from besides results: its template, and the cards that tell licences and sources."""
    folder = Path(workflow.basedir) / "workflow" / "resources"
    found = [
        *folder.glob("page/*"),
        *folder.glob("datasets/*.yaml"),
        *folder.glob("weights/*.yaml"),
    ]
    return sorted(os.path.relpath(path) for path in found)
