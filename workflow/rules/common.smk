import os
import shlex
import sys
from functools import cache

from snakemake_logger_plugin_utopia.run import EXPECTED

from utopia.plan.price import price
from utopia.provenance import environment

# Snakemake starts scripts by the path of Python, and does not quote it: from a folder with a blank in its name that fails.
if shlex.quote(sys.executable) != sys.executable:
    sys.executable = os.path.relpath(sys.executable)

# The logger plugin and jobs learn from it where the study's own folder is.
os.environ["UTOPIA_STUDY_FOLDER"] = str(PLAN.root)

TRAINING_CORES = PLAN.study.engine.cores(PLAN.study.device)


def expect():
    """Price the run: the time left is judged by what each job is expected to cost."""
    EXPECTED.seconds = price(PLAN).seconds_by_rule()
    asked = workflow.resource_settings
    EXPECTED.cores = int(asked.nodes or asked.cores or 0)


def start_without_limit():
    """Let jobs start without a limit in a second, unless one is asked for.

    For the limit Snakemake goes through all jobs that could start each second, and once more in each second for every job
    that has ended: half of its own work. It also ends a second late. Its own 100 in a second are never reached, and no
    option turns it off.
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


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


@cache
def planned(rule, names):
    """What the plan says of a job: its files and its parameters."""
    return PLAN.job(rule, dict(names)), PLAN.params(rule, dict(names))


def read(rule):
    """The input function of a rule: the files that the plan names, by role."""
    return unpack(from_study(lambda w: dict(planned(rule, tuple(w.items()))[0].inputs)))


def given(rule, *names):
    """The parameters of a rule, each as the plan gives it."""
    return {
        name: from_study(lambda w, name=name: planned(rule, tuple(w.items()))[1][name])
        for name in names
    }


def training_memory(runs):
    """Megabytes that the training of these runs takes. Clips keep all features at the model's rate in memory: of EEV's 3,800
    videos 7 GB at one step per second. Each further worker shares the data and holds its own replica.
    """
    others = 1500 * (TRAINING_CORES - 1)
    if runs[0].protocol != "reactions":
        return 4000 + others
    rate = runs[0].settings["model_config"]["training"]["clips"]["rate"]
    videos = len(PLAN.datasets[runs[0].dataset].with_video)
    return int(3000 + 2.5 * rate * videos) + others
