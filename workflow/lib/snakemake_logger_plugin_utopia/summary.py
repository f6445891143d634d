"""The words of a run: its progress line, what was made, what failed and why, what a dry run would do."""

from __future__ import annotations

import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from snakemake_logger_plugin_utopia.run import JobState, RunState
from utopia.plan.jobs import family
from utopia.provenance import failures
from utopia.provenance.failures import Cause, Failure

PLANNED_JOBS = "UTOPIA_PLANNED_JOBS"
"""Names a file for the jobs of a dry run: whoever asks for it reads them there, and nothing is shown."""
Style = Callable[..., str]
_BAR = 20
_SHOWN_JOBS = 5
_SHOWN_LINES = 6
_RUNNING = 4
"""Most rules that the line of progress names: a cluster runs hundreds of jobs at once."""
_REASONS = (
    ("forced", "asked for"),
    ("missing output", "output is missing"),
    ("incomplete output", "output is incomplete"),
    ("updated input files", "input is newer"),
    ("input files updated by another", "input will be regenerated"),
    ("set of input files has changed", "other input files"),
    ("code has changed", "code has changed"),
    ("params have changed", "settings or code have changed"),
    ("software environment", "environment has changed"),
)


def duration(seconds: float) -> str:
    """A length of time as people read it: `45 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def jobs(count: int) -> str:
    """`1 job`, `2 jobs`."""
    return "1 job" if count == 1 else f"{count} jobs"


def progress_line(run: RunState, bar: bool) -> str:
    """How far the run is, in one line."""
    share = run.done / run.total if run.total else 0.0
    parts = [f"{run.done}/{run.total} jobs, {int(100 * share)} %", duration(run.elapsed)]
    left = run.remaining_seconds()
    if run.done < run.total:
        parts.append("time left: not known yet" if left is None else f"about {duration(left)} left")
    if run.failed:
        parts.append(f"{len(run.failed)} failed")
    now = Counter(job.rule for job in run.running.values())
    rules = [rule if count == 1 else f"{rule} x{count}" for rule, count in sorted(now.items())]
    more = sum(now.values()) - sum(now[rule] for rule in sorted(now)[:_RUNNING])
    running = ", ".join([*rules[:_RUNNING], *([f"{more} more"] if more else [])])
    text = ", ".join(parts) + (f": {running}" if running else "")
    filled = int(_BAR * share)
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {text}" if bar else text


def made(run: RunState, style: Style, page: Path | None = None) -> list[str]:
    """What a run has made: jobs by rule, tables, figures, time; last the page with all results, where there is one."""
    rules = Counter(job.rule for job in run.finished)
    lines = [style(f"done: {jobs(len(run.finished))} in {duration(run.elapsed)}", "bold", "green")]
    if rules:
        lines += _wrapped("jobs", [f"{rule} {count}" for rule, count in sorted(rules.items())])
    for folder in ("tables", "figures"):
        lines += _listed(folder, run.finished)
    return lines + planted_lines(page) + page_line(page)


def planted_lines(page: Path | None) -> list[str]:
    """What came of the effects that the study has planted, where its tables say so."""
    if page is None:
        return []
    from utopia.plan.expectations import outcome

    found = outcome(page.parents[1] / "tables").lines()
    return [f"  {'planted:' if number == 0 else '':<9} {line}" for number, line in enumerate(found)]


def page_line(page: Path | None) -> list[str]:
    """Where the page with all results is; nothing where it has not been made."""
    return [f"  {'page:':<9} {page}   (utopia open)"] if page is not None and page.is_file() else []


def _listed(name: str, finished: Iterable[JobState]) -> list[str]:
    """The tables (or figures) that jobs have made: where they are, which, in which formats."""
    formats: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for job in finished:
        for output in map(PurePath, job.outputs):
            if output.parent.name == name:
                formats[str(output.parent)][output.name.split(".")[0]].append(output.suffix.removeprefix("."))
    lines = []
    for folder, found in sorted(formats.items()):
        suffixes = sorted({suffix for each in found.values() for suffix in each})
        lines += _wrapped(name, sorted(found), after=f"in {folder} ({', '.join(suffixes)})")
    return lines


def _wrapped(title: str, words: Sequence[str], after: str = "", width: int = 100) -> list[str]:
    text = textwrap.wrap(", ".join(words), width, break_long_words=False, break_on_hyphens=False) + [after] * bool(
        after
    )
    return [f"  {f'{title}:' if number == 0 else '':<9} {line}" for number, line in enumerate(text)]


def failed(run: RunState, style: Style, interrupted: bool, log_lines: int = _SHOWN_LINES) -> list[str]:
    """What failed, grouped by cause, and what to do."""
    causes = failures.group(failure for failure in run.failed.values() if failure.status != "interrupted")
    count = sum(len(cause.failures) for cause in causes)
    not_run = max(0, run.total - run.done - count)
    rest = f"{run.done} done, {not_run} not run, {duration(run.elapsed)}"
    lines = []
    if causes:
        why = "" if len(causes) == 1 else f" for {len(causes)} reasons"
        lines.append(style(f"failed: {count} of {jobs(run.total)}{why} ({rest})", "bold", "red"))
    elif interrupted:
        lines.append(style(f"stopped{' by you' if run.stopped_by == 'you' else ''}: {rest}", "bold", "yellow"))
    else:
        lines.append(style(f"stopped: {rest}", "bold", "red"))
    for number, cause in enumerate(causes, 1):
        lines += ["", *_cause(number if len(causes) > 1 else None, cause, style, log_lines)]
    lines += ["", "What is done stays done: the same command goes on from there."]
    return lines


def _cause(number: int | None, cause: Cause, style: Style, log_lines: int) -> list[str]:
    mark = f"{number}. " if number else "   "
    first = cause.first
    title = [f"{mark}{style(cause.headline, 'bold')}"]
    places = len({failure.where for failure in cause.failures})
    for failure in cause.failures[:_SHOWN_JOBS]:
        where = f": {failure.where}" if places > 1 and failure.where else ""
        title.append(f"     {failure.name}{where}")
    hidden = len(cause.failures) - _SHOWN_JOBS
    if hidden > 0:
        title.append(f"     and {hidden} more")
    return title + _details(first, log_lines)


def _details(first: Failure, log_lines: int) -> list[str]:
    lines = []
    rest = first.what.strip().splitlines()[1:]
    lines += [f"     {line}" for line in rest]
    if first.why:
        lines.append(f"   why it matters: {first.why}")
    if first.remedy:
        lines.append(f"   what to do:     {first.remedy}")
    tail = [] if first.expected else [line for line in failures.tail(first.log, log_lines + 1) if line != first.message]
    tail = tail[-log_lines:]
    if tail:
        lines.append(f"   end of {first.log}:")
        lines += [f"     | {line}" for line in tail]
    elif first.log and first.expected:
        lines.append(f"   log:            {first.log}")
    command = first.command if first.remedy and first.command else f"less {first.log}" if tail else first.command
    if not command and first.outputs:
        command = f"snakemake --cores 1 --force -- {first.outputs[0]}"
    if command:
        lines.append(f"   {'then try' if first.remedy else 'try'}:{'' if first.remedy else '     '}       {command}")
    return lines


def dry_run(stats: Mapping[str, int], reasons: Mapping[str, Iterable[str]]) -> list[str]:
    """What a dry run would do, by rule.

    Args:
        stats: the number of jobs by rule.
        reasons: for each rule, what Snakemake gives as the reason of each of its jobs.
    """
    stats, reasons = _by_family(stats, reasons)
    width = max([len(rule) for rule in stats] + [4])
    lines = [f"{jobs(sum(stats.values()))} would run (dry run: nothing is changed)", f"  {'rule':<{width}}  jobs  why"]
    for rule, count in sorted(stats.items()):
        why = Counter(word for text in reasons.get(rule, ()) for word in _reasons(text))
        words = ", ".join(word if number == count else f"{word} ({number})" for word, number in why.most_common())
        lines.append(f"  {rule:<{width}}  {count:>4}  {words}".rstrip())
    return lines


def _by_family(
    stats: Mapping[str, int], reasons: Mapping[str, Iterable[str]]
) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Rules of one batch of runs each in one line: `train_*`."""
    counts: Counter[str] = Counter()
    texts: dict[str, list[str]] = defaultdict(list)
    for rule, count in stats.items():
        name = rule if family(rule) == rule else f"{family(rule)}_*"
        counts[name] += count
        texts[name] += reasons.get(rule, ())
    return dict(counts), texts


def _reasons(text: str) -> list[str]:
    """What a reason of Snakemake says, in few words each."""
    found = [words for start, words in _REASONS if re.search(rf"(?:^|; ){start}", text, re.IGNORECASE)]
    if "output is missing" in found:
        return ["output is missing"]  # that its inputs are made first says nothing more
    return found or ["always" if "always executed" in text else text.split(":")[0].strip().lower() or "not told"]
