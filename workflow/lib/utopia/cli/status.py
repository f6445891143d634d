"""`utopia status`: how far a study is and what to do next; readable while a run is going on.

Keys of `--json`: `study`, `state` (`never run`, `running`, `interrupted`, `failed`, `done`), `pid`, `host`, `started`,
`updated`, `stopped_by` (what ended a run before its end: `you` (Ctrl-C), `SIGTERM`, `unknown` (it was killed); null
where nothing did), `total`, `done`, `remaining_seconds`, `running` (list of {rule, wildcards, seconds, log}), `failed`
(list of {cause, remedy, log, jobs}), `throughput` (list of {stage, unit, amount, seconds, jobs, per_job, now, running}:
work of the stage's jobs that are done, of one unit, and its rate per second of a job; per second now, of the jobs that
run), `records`, `tables`, `figures` (names of those that are there), `again` (of a
study whose last run is done, what a run would do again today: {jobs, reasons: list of {job, kind, what, diff}}, else
null), `times` ({future: files with a time in the future, late: outputs that are older than what they are made from};
null while a run is going on), `planted` ({passed: cells of planted effects that were found, missed: {cell: why not}}),
`next`.
"""

from __future__ import annotations

import argparse
import shlex
import socket
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utopia.cli import audit, engine, options, runlock, show
from utopia.errors import counted
from utopia.files import read_json

if TYPE_CHECKING:
    from utopia.config.study import StudyBase

_SHOWN = 4
"""Reasons that are shown."""

_SILENCE = 60.0
"""Seconds without a sign of life after which a run on another machine is called silent."""


_STOPPED = {
    "you": "stopped by you",
    "SIGTERM": "stopped by a signal (SIGTERM)",
    "unknown": "interrupted: the run was killed, or its machine went down",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    options.add_study(parser)
    options.add_selection(parser)
    options.add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    """Print how the study stands; 1 if its last run failed or was interrupted, or a planted effect was not found."""
    study = options.load_study(chosen, as_made=True)
    asked = runlock.Asked.of(options.overrides(chosen), chosen.configfile)
    facts = status(study.root, study.study, asked)
    if facts["state"] not in ("running", "never run"):
        facts |= _today(study, facts, asked)
    show.answer(chosen, facts, in_words(facts))
    return 1 if facts["state"] in ("failed", "interrupted") or facts["planted"]["missed"] else 0


def status(folder: Path, study: str, asked: runlock.Asked | None = None) -> dict[str, Any]:
    """How the study whose folder is `folder` stands (the keys are those of `--json`).

    Args:
        folder: the study's folder.
        study: its name.
        asked: what the next run is to be asked for; None: what the last one was asked for.

    Raises:
        UtopiaError: `audit/run.json` cannot be read.
    """
    from utopia.plan.expectations import outcome
    from utopia.provenance.throughput import throughput

    path = folder / "audit" / "run.json"
    facts = read_json(path) if path.is_file() else {}
    owner = runlock.owner(folder)
    held = runlock.is_held(folder)
    if held and owner and facts.get("pid") != owner.pid:
        facts = {}  # what the run before this one has left; this one has not begun to write
    state = _state(facts, held)
    now = time.time()
    told = facts.get("stopped_by") if facts.get("state") == "interrupted" else "unknown"
    running = [
        {key: job.get(key) for key in ("rule", "wildcards", "log")}
        | {"seconds": round(_since(job.get("started"), now))}
        for job in facts.get("running", [])
    ]
    standing = {
        "study": study,
        "state": state,
        "pid": facts.get("pid") or (owner.pid if held and owner else None),
        "host": facts.get("host") or (owner.host if held and owner else None),
        "started": facts.get("started"),
        "updated": facts.get("updated"),
        "stopped_by": (told or "unknown") if state == "interrupted" else None,
        "total": facts.get("total", 0),
        "done": facts.get("done", 0),
        "remaining_seconds": facts.get("remaining_seconds") if state == "running" else None,
        "running": running if state == "running" else [],
        "failed": _failed(folder, facts, state),
        "throughput": [rate.as_dict() for rate in throughput(folder, running if state == "running" else ())],
        "records": sum(1 for _ in folder.rglob("*.record.json")),
        "tables": _names(folder / "tables", "csv"),
        "figures": _names(folder / "figures", "png"),
        "planted": outcome(folder / "tables")._asdict(),
    }
    command = _command(study, asked or runlock.asked(folder))
    return standing | {"again": None, "times": None, "next": _next(standing, command, now)}


def _today(study: StudyBase, state: dict[str, Any], asked: runlock.Asked) -> dict[str, Any]:
    """What a run would do again today: because of settings and code, and because of the times of files."""
    from utopia.plan.plan import Plan
    from utopia.provenance.adopt import times
    from utopia.provenance.current import Current
    from utopia.provenance.reasons import jobs_to_run

    graph, plan = audit.graph(study), Plan(study)
    stamps = times(plan, Path.cwd())
    answer: dict[str, Any] = {"times": {"future": [str(path) for path in stamps.future], "late": stamps.late}}
    if state["state"] == "done":
        jobs = jobs_to_run(graph, Current(plan, graph))
        reasons = list(dict.fromkeys(reason for reasons_of_job in jobs.values() for reason in reasons_of_job))
        answer["again"] = {"jobs": len(jobs), "reasons": [reason.as_dict() for reason in reasons]}
        answer |= {"next": _command(study.study, asked)} if jobs else {}
    return answer | ({"next": f"utopia adopt --study {study.study}"} if stamps.future else {})


def _state(facts: dict[str, Any], held: bool) -> str:
    """The state that the last run's file gives, corrected by whether that run is alive."""
    if not facts:
        return "running" if held else "never run"
    state = str(facts.get("state", "interrupted"))
    if held:
        return "running"
    if state == "running" and facts.get("host") == socket.gethostname() and not _is_alive(facts.get("pid"), facts):
        return "interrupted"
    return state


def _is_alive(pid: Any, facts: dict[str, Any]) -> bool:
    """Whether a process is the one that wrote the file: it must not be younger than the run."""
    import psutil

    try:
        return psutil.Process(int(pid)).create_time() <= time.time() - _since(facts.get("started"), time.time()) + 2
    except (psutil.Error, TypeError, ValueError):
        return False


def _since(moment: Any, now: float) -> float:
    """Seconds from a time in ISO 8601 until `now`; 0 where it is not given."""
    try:
        return max(0.0, now - datetime.fromisoformat(moment).timestamp())
    except (TypeError, ValueError):
        return 0.0


def _failed(folder: Path, facts: dict[str, Any], state: str) -> list[dict[str, Any]]:
    """Failures by cause: what jobs have left written, and what only the run has seen.

    A job that ended because the whole run was stopped has not failed.
    """
    from utopia.provenance import failures

    failed = failures.below(folder / "logs") if (folder / "logs").is_dir() else []
    known = {failure.name for failure in failed}
    for seen in facts.get("failed", []):
        if failures.job_name(seen["rule"], seen["wildcards"]) not in known:
            fields = {key: seen.get(key) for key in ("rule", "wildcards", "log", "status", "message")}
            failed.append(failures.Failure(**fields, what=seen.get("message", "")))
    if state == "interrupted":
        failed = [failure for failure in failed if failure.status != "interrupted"]
    return [
        {
            "cause": cause.headline,
            "remedy": cause.first.remedy,
            "log": cause.first.log,
            "jobs": [failure.name for failure in cause.failures],
        }
        for cause in failures.group(failed)
    ]


def _names(folder: Path, suffix: str) -> list[str]:
    return sorted(path.stem for path in folder.glob(f"*.{suffix}"))


def _command(study: str, asked: runlock.Asked) -> str:
    """The command that asks a study for the same again."""
    data = asked.config.get("data")
    chosen = [word for file in asked.files for word in ("--configfile", file)]
    chosen += options.part_in_words(asked.config)
    single = {name: value for name, value in asked.config.items() if name not in ("data", *runlock.PART)}
    if single:
        chosen += ["--", "--config", *engine.values(single)]
    if chosen:
        return shlex.join(["utopia", "run", "--study", study, *(["--data", data] if data else []), *chosen])
    return f"make results STUDY={study}" + (f" DATA={shlex.quote(data)}" if data else "")


def _next(state: dict[str, Any], command: str, now: float) -> str:
    if state["state"] == "running":
        silent = _since(state["updated"], now)
        if silent > _SILENCE and state["host"] != socket.gethostname():
            return f"look on {state['host']} whether process {state['pid']} is alive: no sign of it for {silent:.0f} s"
        return "wait; `utopia status` shows how far it is"
    if state["state"] == "failed" or state["failed"]:
        cause = next(iter(state["failed"]), {"remedy": "", "log": None})
        remedy = cause["remedy"] or (f"read {cause['log']}" if cause["log"] else "see the failures above")
        return f"{remedy}; then: {command}"
    if state["state"] == "interrupted":
        return f"run the same command to go on: {command}  (what is done stays done)"
    if state["state"] == "never run":
        return command
    return f"utopia open --study {state['study']}, or utopia compare --study {state['study']}"


def in_words(status: dict[str, Any]) -> list[str]:
    """The status for people."""
    from snakemake_logger_plugin_utopia.summary import duration, jobs

    now = time.time()
    words = [f"{status['study']}: {_STOPPED.get(status['stopped_by'], status['state'])}"]
    if status["total"]:
        words.append(f"{status['done']} of {status['total']} jobs done")
    if status["remaining_seconds"] is not None:
        words.append(f"about {duration(status['remaining_seconds'])} left")
    if status["started"]:
        words.append(f"started {duration(_since(status['started'], now))} ago")
    if status["state"] == "running" and status["pid"]:
        words.append(f"process {status['pid']} on {status['host']}")
    lines = [", ".join(words)]
    lines += show.columns(["running", _job(job), duration(job["seconds"])] for job in status["running"])
    for cause in status["failed"]:
        count = len(cause["jobs"])
        lines.append(f"  failed   {cause['cause']}")
        lines.append(f"           {cause['jobs'][0]}" + (f" and {count - 1} more" if count > 1 else ""))
        if cause["log"]:
            lines.append(f"           log: {cause['log']}")
    if status["again"] and status["again"]["jobs"]:
        lines.append(f"  again    {jobs(status['again']['jobs'])} would run today")
        reasons = status["again"]["reasons"]
        named = [f"           {reason['job']}: {reason['what']}" for reason in reasons]
        lines += show.first(named, _SHOWN, "           and {} more reasons (utopia why FILE)")
    lines += show.columns(["rate   ", *_rate(rate)] for rate in status["throughput"])
    lines += _of_times(status["times"] or {"future": [], "late": []})
    made = [f"{len(status[kind])} {kind}" for kind in ("tables", "figures")] + [f"{status['records']} job records"]
    lines.append(f"  there    {', '.join(made)}")
    lines += [f"  {'planted' if not number else '':8} {text}" for number, text in enumerate(_planted(status))]
    return [*lines, f"next: {status['next']}"]


_UNITS = {"frames": "frames", "sound_seconds": "seconds of sound", "replica_epochs": "replica-epochs"}


def _rate(rate: dict[str, Any]) -> list[str]:
    """The stage; how fast it is now; how fast its jobs were."""
    from snakemake_logger_plugin_utopia.summary import jobs

    unit = _UNITS[rate["unit"]]
    now = f"{rate['now']:.3g} {unit} per second now, in {jobs(rate['running'])}" if rate["running"] else ""
    done = f"{rate['per_job']:.3g} {unit} per second of a job, in {jobs(rate['jobs'])} done" if rate["jobs"] else ""
    return [rate["stage"], "; ".join(words for words in (now, done) if words)]


def _planted(status: dict[str, Any]) -> list[str]:
    from utopia.plan.expectations import Outcome

    return Outcome(**status["planted"]).lines()


def _of_times(stamps: dict[str, list[str]]) -> list[str]:
    lines = []
    if future := stamps["future"]:
        lines.append(
            f"  times    {counted(len(future), 'file has', 'files have')} a time in the future, such as {future[0]}"
        )
        lines.append("           whatever is made from them is refused and removed; `utopia adopt` repairs it")
    if late := stamps["late"]:
        lines.append(
            f"  times    {counted(len(late), 'output is', 'outputs are')}"
            f" older than what they are made from, such as {late[0]}"
        )
        lines.append("           a run may make them again; `utopia adopt` proves by their records what need not be")
    return lines


def _job(job: dict[str, Any]) -> str:
    from utopia.provenance.failures import job_name

    return job_name(str(job["rule"]), job["wildcards"] or {})
