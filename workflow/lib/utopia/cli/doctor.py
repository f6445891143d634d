"""`utopia doctor`: whether this machine, its environment and its data are fit for a run.

A fault of the configuration ends it as it ends every command. Warnings are about what the study at hand needs.

Keys of `--json`: `study`, `state` (the worst of the checks), `checks` (list of
{check, state: `ok`, `warn` or `fail`, found, remedy}).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from utopia.cli import fitness, options, show
from utopia.cli.fitness import Check, State
from utopia.errors import UtopiaError, counted

if TYPE_CHECKING:
    from utopia.config.study import StudyBase
    from utopia.plan.plan import Plan

_LEVELS: tuple[State, ...] = ("ok", "warn", "fail")
_SET_UP = "make setup"
_UNTRIED = (3, 14)


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    options.add_study(parser)
    options.add_selection(parser)
    options.add_json(parser)
    parser.add_argument(
        "--profile", metavar="NAME", type=options.filled, help="also what a run with this profile needs"
    )


def run(chosen: argparse.Namespace) -> int:
    """Print what was found; 1 if anything fails."""
    from utopia.config.load import REPOSITORY

    study = options.load_study(chosen)
    checks = [*fitness.surroundings(getattr(chosen, "notes", ())), *machine()]
    if chosen.profile:
        checks += fitness.profile(chosen.profile, REPOSITORY)
    checks += [Check("configuration", "ok", f"study {study.study}"), *of_study(study)]
    worst = max((check.state for check in checks), key=_LEVELS.index)
    answer = {"study": study.study, "state": worst, "checks": [asdict(check) for check in checks]}
    show.answer(chosen, answer, in_words(checks))
    return 1 if worst == "fail" else 0


def machine() -> Iterator[Check]:
    """What does not depend on a study."""
    yield python()
    yield environment()
    yield snakemake()
    yield decoders()
    yield fitness.drawing()
    yield fitness.temporary()
    yield git()


def of_study(study: StudyBase) -> Iterator[Check]:
    """What depends on the study. The repository must be the working directory."""
    from utopia.plan.plan import Plan
    from utopia.plan.price import price

    yield gpu(study.device)
    yield from fitness.folder(study.root)
    try:
        plan = Plan(study)
    except (UtopiaError, OSError) as error:
        yield Check("data", "fail", str(error), "" if isinstance(error, UtopiaError) else "make it readable (`ls -ld`)")
        return
    yield fitness.disk(study.root, sum(stage.disk_bytes for stage in price(plan).stages))
    yield from data(plan)


def python() -> Check:
    """The interpreter."""
    version = f"Python {'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})"
    if sys.version_info >= _UNTRIED:
        return Check("python", "warn", version, "newer than this project was tried with: PYTHON=python3.11 make setup")
    return Check("python", "ok", version)


def environment() -> Check:
    """Every distribution that the lock pins for this platform, against what is installed."""
    from utopia.provenance import environment as installed

    folder = installed.checkout()
    if folder is None:
        return Check(
            "environment", "warn", "the package runs apart from its repository: there is no lock to compare with"
        )
    here = installed.packages()
    different = [
        f"{name} {here.get(name, 'is missing')}{f', not {version}' if name in here else f' ({version})'}"
        for name, version in installed.pinned().items()
        if here.get(name) != version
    ]
    if different:
        return Check("environment", "fail", f"differs from the lock: {'; '.join(different)}", _SET_UP)
    return Check("environment", "ok", f"{counted(len(here), 'distribution')}, all as envs/requirements.txt pins them")


def snakemake() -> Check:
    """Snakemake, beside this Python."""
    from utopia.cli import engine
    from utopia.provenance.environment import snakemake_version

    try:
        return Check("snakemake", "ok", f"Snakemake {snakemake_version()} ({engine.executable()})")
    except UtopiaError as error:
        return Check("snakemake", "fail", error.what, _SET_UP)


def decoders() -> Check:
    """PyAV, its FFmpeg, and the decoders of the official files."""
    try:
        import av
        from av.codec.codec import Codec
    except ImportError as error:
        return Check("decoders", "fail", f"PyAV cannot be imported ({error})", _SET_UP)
    missing = []
    for name in ("h264", "mpeg4", "aac", "mp3"):
        try:
            Codec(name, "r")
        except ValueError:
            missing.append(name)
    version = ".".join(map(str, av.library_versions.get("libavcodec", ())))
    versions = f"PyAV {av.__version__}, libavcodec {version}"
    if missing:
        return Check("decoders", "fail", f"{versions}, without {', '.join(missing)}", _SET_UP)
    return Check("decoders", "ok", f"{versions}: H.264, MPEG-4, AAC, MP3")


def git() -> Check:
    """What the records of a run will say of the code."""
    from utopia.provenance.environment import git as state
    from utopia.provenance.environment import refusal

    git_state = state()
    if git_state is None:
        what = refusal() or "no repository, or no git"
        return Check("git", "warn", f"{what}: records will not name a commit", "work in a clone, with git installed")
    commit = git_state["commit"][:12]
    if git_state["dirty"]:
        count = len(git_state["changed"])
        return Check(
            "git",
            "warn",
            f"{commit}, {counted(count, 'file')} changed: records will say so",
            "commit before runs that count",
        )
    return Check("git", "ok", f"{commit}, nothing changed")


def gpu(device: str) -> Check:
    """The GPUs, and whether the study asks for one."""
    from utopia.provenance.environment import gpus

    listed = gpus()
    if listed:
        return Check("gpu", "ok", ", ".join(f"{gpu['name']} (driver {gpu['driver']})" for gpu in listed))
    if device == "cuda":
        return Check(
            "gpu", "fail", "none, and the study asks for `device: cuda`", "set `device: auto` or `device: cpu`"
        )
    return Check("gpu", "ok", "none; networks run on the CPU")


def data(plan: Plan) -> Iterator[Check]:
    """What data the study finds of what its tables and figures show, and which weights it extracts with."""
    study = plan.study
    yield file_times(plan)
    for name in plan.asked:
        availability = plan.datasets[name]
        # a study that generates its data, or leaves out what is not there, needs no more than it finds
        content = study.generated is not None or study.without_data == "leave_out"
        state: State = "ok" if content else "warn"
        remedy = "its cells will be absent; docs/data.md says where the data come from"
        if not availability.available:
            yield Check(f"data {name}", state, f"absent: {availability.reason}", remedy)
        elif not study.dataset(name).features:
            yield Check(f"data {name}", "ok", f"{counted(availability.items, 'item')} with labels only")
        elif not availability.features:
            yield Check(
                f"data {name}",
                state,
                f"{counted(availability.items, 'item')} without features: {availability.feature_reason}",
                remedy,
            )
        else:
            notes = "".join(f"; {note}" for note in (*availability.notes, *availability.protocol_notes))
            notes += f"; shots: {availability.shots}" if availability.shots else ""
            yield Check(
                f"data {name}",
                "ok",
                f"{counted(availability.items, 'item')}, features {'+'.join(availability.features)}{notes}",
            )
    yield from _weights(plan)


def _weights(plan: Plan) -> Iterator[Check]:
    """The weights of the features that were chosen; what another set of features needs is in a data set's line."""
    from utopia.features import cards
    from utopia.features.weights import find

    study = plan.study
    chosen = {feature for name in plan.asked for feature in plan.datasets[name].features}
    for name, settings in cards.extracted(study).items():
        if name not in chosen:
            continue
        for setting, card in cards.chosen(settings.options).items():
            check = name if setting == "weights" else f"{name} ({setting.removesuffix('_weights')})"
            if card == cards.RANDOM:
                yield Check(f"weights {check}", "ok", "random, from the study's seed")
                continue
            weights = find(card, study.data / "weights" if study.data else None)
            if weights.path is None:
                yield Check(f"weights {check}", "warn", weights.reason, "features that need them will be absent")
            else:
                yield Check(f"weights {check}", "ok", f"{weights.path} (its checksum is looked at when it is used)")


def file_times(plan: Plan) -> Check:
    """Whether a file that jobs read or make has a time in the future: what is made from it is refused."""
    from utopia.provenance.adopt import times

    future = times(plan, Path.cwd()).future
    if not future:
        return Check("times", "ok", "no file of the study has a time in the future")
    more = f" and {len(future) - 1} more" if len(future) > 1 else ""
    return Check(
        "times", "fail", f"{future[0]}{more} has a time in the future", "correct the clock, then: utopia adopt --inputs"
    )


def in_words(checks: list[Check]) -> list[str]:
    """The checks for people: one line each, a remedy below."""
    width = max(len(check.check) for check in checks)
    lines = []
    for check in checks:
        first, *more = check.found.splitlines()
        lines.append(f"{check.state:<5} {check.check:<{width}}  {first}")
        indent = " " * (width + 8)
        lines += [indent + line for line in more]
        if check.remedy and check.state != "ok":
            lines.append(f"{indent}-> {check.remedy}")
    counts = {state: sum(check.state == state for check in checks) for state in _LEVELS}
    return [*lines, f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures"]
