"""`utopia explain`: where a table, a value, a figure, a run or a file comes from.

Keys of `--json`: `subject`, `kind` (`cell`, `table`, `row`, `figure`, `run`, `file`), `others` (what else the name may
mean), `cells` (of a table or a row: list of {cell, row, name, column, title, shown, value, std, published, decimals,
status, verdict, reason, source}; else none), `value` (of a cell: `shown`, `value`, `std`, `n`,
`low`, `high`, `published`, `verdict`, ...; else null), `replicas` (list of {run, target, fold, repeat, metrics,
trainings: list of {member, seed, selected_epoch, epochs, seconds (null: found stored), checkpoint, sha256}}),
`files` (the chain, nearest first: {path, sha256, bytes, rule}), `inputs` (raw files: {path, sha256, bytes, dataset,
licence, source}), `settings` ({runs, jobs}),
`code` ({commits, fingerprints, modules}), `software` ({locks, versions, variables}), `hardware` (list
of {host, cpu, gpus, determinism, jobs}), `last_run` (when the study's last run began; null: not known), `jobs` (list of
{job, rule, record, intact, reused, found_stored, started, ended, seconds, ...}; `reused`: it was done before the last
run began, null: not known; `found_stored`: of the files beside its outputs those that an earlier run, which was
stopped, had finished),
`again` ({command, jobs, seconds, seconds_from_nothing}), `warnings`. With filters, only what they ask for.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from utopia.cli import audit, show
from utopia.errors import UtopiaError, counted

if TYPE_CHECKING:
    from utopia.config.study import StudyBase
    from utopia.provenance.current import Current
    from utopia.provenance.lineage import Graph

FILTERS = {
    "inputs": ("inputs",),
    "code": ("settings", "code", "software"),
    "hardware": ("hardware", "last_run", "jobs"),
}
_SHA = 12
_WIDTH = 110


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "subject",
        help="a table (ulda_table_1, or 'Table 1'), a row or cell of it (table/row/column), a figure, a run or a file",
    )
    audit.add(parser)
    parser.add_argument("--full", action="store_true", help="every file, setting, module and version")
    parser.add_argument("--inputs", action="store_true", help="only the raw files that it is computed from")
    parser.add_argument("--code", action="store_true", help="only configuration, code and software")
    parser.add_argument("--hardware", action="store_true", help="only machines and jobs")


def run(chosen: argparse.Namespace) -> int:
    """Print the ancestry."""
    from utopia.provenance.explain import explain
    from utopia.provenance.subject import find

    study = audit.locate(chosen)
    graph = audit.graph(study, chosen.subject)
    answer = explain(graph, find(graph, chosen.subject), study.study, _current(study, graph))
    asked = [name for name in FILTERS if getattr(chosen, name)]
    if chosen.json:
        keys = {"subject", "kind", *(key for name in asked for key in FILTERS[name])}
        show.print_json({key: value for key, value in answer.items() if not asked or key in keys})
    elif chosen.full:
        print("\n".join(in_full(answer, asked)))
    else:
        print("\n".join(in_short(answer, asked)))
    return 0


def _current(study: StudyBase, graph: Graph) -> Current | None:
    """Today's jobs; None where there is no plan of them: the lineage can be told without it."""
    try:
        return audit.current(study, graph)
    except UtopiaError:
        return None


def in_short(answer: Mapping[str, Any], asked: list[str]) -> list[str]:
    """The answer on one screen."""
    lines = _head(answer)
    if not asked:
        lines += _grid(answer) if answer["cells"] else _chain(answer)
    if not asked or "inputs" in asked:
        lines += _inputs(answer, listed=bool(asked))
    if not asked or "code" in asked:
        lines += _settings(answer) + _code(answer)
    if not asked or "hardware" in asked:
        lines += _hardware(answer) + _reused(answer)
    if not asked:
        lines += _again(answer)
    return [*lines, *_warned(answer)]


def in_full(answer: Mapping[str, Any], asked: list[str]) -> list[str]:
    """Everything."""
    keys = [key for name in asked for key in FILTERS[name]] or [
        "replicas", "files", "inputs", "settings", "code", "software", "hardware", "last_run", "jobs",
    ]  # fmt: skip
    lines = _head(answer)
    for key in keys:
        lines += [f"{key}:", *(f"  {line}" for line in _everything(answer[key]))]
    return [*lines, *([] if asked else _again(answer)), *_warned(answer)]


def _everything(value: Any) -> list[str]:
    """Any JSON value in lines; short ones in one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, Mapping | list) or (
        len(flat) < _WIDTH and not any(isinstance(item, Mapping | list) for item in _values(value))
    ):
        return [value if isinstance(value, str) else flat]
    if isinstance(value, list):
        return [line for item in value for line in _everything(item)]
    lines = []
    for name, item in value.items():
        inner = _everything(item)
        lines += [f"{name}: {inner[0]}"] if len(inner) == 1 else [f"{name}:", *(f"  {line}" for line in inner)]
    return lines


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else list(value)


def _item(title: str, *texts: str) -> list[str]:
    return [f"  {title if number == 0 else '':<13}{text}" for number, text in enumerate(texts) if text]


_STATISTICS = {
    "p": "p-value of the difference of two runs over test items and seeds",
    "permuted": "p-value of swapping two runs at their test items",
    "adjusted": "p-value of the difference of two runs, adjusted among all rows of the table",
    "improvement": "probability that a training with the treatment is better on a test item than one without",
}


def _head(answer: Mapping[str, Any]) -> list[str]:
    value = answer["value"]
    others = _item("or", f"{', '.join(answer['others'])}, which that name may also mean") if answer["others"] else []
    if answer["cells"]:
        return [f"{answer['subject']} ({answer['kind']}): {answer['cells'][0]['source']}", *others]
    if value is None:
        return [f"{answer['subject']} ({answer['kind']})", *others]
    return [*_head_of_cell(answer, value), *others]


def _head_of_cell(answer: Mapping[str, Any], value: Mapping[str, Any]) -> list[str]:
    """A cell's value, how it came about, and what is published."""
    if value["shown"] is None:
        return [f"{answer['subject']}: {value['status']}", *_item("why", value["reason"])]
    spread = "" if value["std"] is None else f" ± {value['std']:.{value['decimals']}f}"
    lines = [f"{answer['subject']} = {value['shown']}{spread}   {value['row']}, {value['column']} ({value['source']})"]
    published = "nothing" if value["published"] is None else f"{value['published']:.{value['decimals']}f}"
    reason = f" ({value['verdict_reason']})" if value["verdict_reason"] else ""
    lines += _item("published", f"{published}; {value['verdict']}{reason}")
    folds = len({replica["fold"] for replica in answer["replicas"]})
    scaled = "" if value["scale"] == 1 else f", times {value['scale']:g}"
    mean = f"mean over {value['n']} seeds" + (f" of the mean over {folds} folds" if folds > 1 else "")
    change = "mean over models of the change; " if len(value["runs"]) > 1 else ""
    change = _STATISTICS.get(value["statistic"], change)
    if value["statistic"]:
        lines += _item("value", f"{value['value']!r}, rounded to {value['decimals']} decimals: {change}")
    elif value["unit"]:
        lines += _item("value", f"{value['shown']} comparisons hold on the means over {value['n']} seeds")
    else:
        lines += _item("value", f"{value['value']!r}, rounded to {value['decimals']} decimals: {change}{mean}{scaled}")
    if value["low"] is not None:
        lines += _item("interval", f"{value['low']:.4g} to {value['high']:.4g}: {value['interval']}")
    return lines


def _grid(answer: Mapping[str, Any]) -> list[str]:
    """The cells of a table: measured value, and the published one in brackets; then how to ask for one of them."""
    cells = answer["cells"]
    columns = list(dict.fromkeys(cell["column"] for cell in cells))
    rows = {cell["row"]: cell["name"] for cell in cells}
    at = {(cell["row"], cell["column"]): cell for cell in cells}
    lines = show.columns(
        [
            ["row", *columns, "in words"],
            *([row, *(_entry(at.get((row, column))) for column in columns), name] for row, name in rows.items()),
        ]
    )
    counts = Counter(cell["status"] for cell in cells)
    lines += ["  measured value (published value); " + ", ".join(f"{count} {name}" for name, count in counts.items())]
    for reason, count in Counter(cell["reason"] for cell in cells if cell["status"] == "absent").most_common(3):
        lines += _item("why absent", f"{counted(count, 'cell')}: {reason}")
    measured = next((cell for cell in cells if cell["shown"] is not None), cells[0])
    replicas = answer["replicas"]
    lines += _item("runs", f"{len(_by_run(answer))}, with {counted(len(replicas), 'replica')}")
    return [*lines, *_item("one cell", f"utopia explain {measured['cell']}")]


def _entry(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return ""
    published = "" if cell["published"] is None else f" ({cell['published']:.{cell['decimals']}f})"
    return f"{cell['shown'] or '-'}{published}"


def _chain(answer: Mapping[str, Any]) -> list[str]:
    lines = []
    value = answer["value"]
    for run, replicas in _by_run(answer).items():
        shown = [replica["metrics"].get(value["metric"]) for replica in replicas] if value else []
        numbers = ", ".join(f"{number:.4g}" for number in shown[:6] if number is not None)
        more = ", ..." if len(shown) > 6 else ""
        lines += _item(
            "run", f"{run}: {counted(len(replicas), 'replica')}" + (f" ({numbers}{more})" if numbers else "")
        )
        trainings = [training for replica in replicas for training in replica["trainings"]]
        if trainings:
            epochs = sorted({training["selected_epoch"] + 1 for training in trainings})
            span = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
            last = trainings[0]
            first = f"{last['checkpoint'].rsplit('/', 1)[-1]} {last['sha256'][:_SHA]}"
            lines += _item("checkpoints", f"{len(trainings)}, epoch {span}; the first is {first}", _stored(trainings))
    for file in answer["files"]:
        name = file["path"].rsplit("/", 1)[-1]
        for title, matches in (
            ("metrics", name == "metrics.csv"),
            ("predictions", name == "predictions.safetensors"),
            ("features", "/features/" in file["path"] and name.endswith(".json")),
            ("labels", name == "labels.safetensors"),
            ("distribution", name.startswith("distribution.")),
        ):
            if matches:
                lines += _item(title, f"{file['path']}  sha256 {str(file['sha256'])[:_SHA]}")
    stored = [file for file in answer["files"] if "/features/store/" in file["path"]]
    if stored:
        size = show.bytes_in_words(sum(file["bytes"] for file in stored))
        before = {path for job in answer["jobs"] for path in job["found_stored"]}
        again = sum(file["path"] in before for file in stored)
        lines += _item(
            "", f"{len(stored)} stored features, {size}" + (f"; {again} were found stored and reused" if again else "")
        )
    return _shortened(lines, 14)


def _stored(trainings: list[Any]) -> str:
    """How many replicas a run before had trained; empty where none."""
    stored = sum(training["seconds"] is None for training in trainings)
    return (
        f"{stored} of {len(trainings)} were found stored and reused: an earlier run had trained them" if stored else ""
    )


def _reused(answer: Mapping[str, Any]) -> list[str]:
    """The jobs that the last run did not have to do, by rule."""
    rules = Counter(job["rule"] for job in answer["jobs"] if job["reused"])
    if not rules:
        return []
    names = ", ".join(f"{rule} ({count})" if count > 1 else rule for rule, count in rules.items())
    text = (
        f"{sum(rules.values())} of {len(answer['jobs'])} jobs were done before the last run began "
        f"({answer['last_run']}), which reused their results: {names}"
    )
    return _item("reused", *textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False))


def _by_run(answer: Mapping[str, Any]) -> dict[str, list[Any]]:
    replicas: dict[str, list[Any]] = {}
    for replica in answer["replicas"]:
        replicas.setdefault(replica["run"], []).append(replica)
    return replicas


def _shortened(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], f"  {'':<13}and {len(lines) - most + 1} more (--full)"]


def _inputs(answer: Mapping[str, Any], *, listed: bool) -> list[str]:
    files = answer["inputs"]
    lines: list[str] = []
    groups = Counter((file["dataset"] or "-", file["licence"], file["source"]) for file in files)
    for (dataset, licence, source), count in groups.items():
        mine = [f for f in files if (f["dataset"] or "-", f["licence"], f["source"]) == (dataset, licence, source)]
        size = show.bytes_in_words(sum(file["bytes"] or 0 for file in mine))
        lines += _item(
            "inputs" if not lines else "",
            f"{counted(count, 'file')}, {size},"
            f" {dataset if dataset != '-' else 'no data set'}: {source}; licence: {licence}",
        )
        if listed:
            lines += [f"    {file['sha256']}  {file['bytes']:>11}  {file['path']}" for file in mine]
    return lines or _item("inputs", "none")


def _settings(answer: Mapping[str, Any]) -> list[str]:
    lines = []
    for run, settings in list(answer["settings"]["runs"].items())[:3]:
        simple = {
            name: settings[name]
            for name in ("model", "treatment", "loss", "sampler", "features", "seed", "repeats", "reference")
            if settings.get(name) is not None
        }
        text = ", ".join(f"{name} {'+'.join(v) if isinstance(v, list) else v}" for name, v in simple.items())
        lines += _item("settings", f"{run}: {text} (--code --full: all)")
    return lines


def _code(answer: Mapping[str, Any]) -> list[str]:
    from utopia.provenance.explain import IMPORTANT

    code, software = answer["code"], answer["software"]
    commits = [
        commit["commit"][:_SHA] + (f" with {len(commit['changed'])} changed files" if commit["dirty"] else "")
        for commit in code["commits"]
    ]
    versions = software["versions"]
    chosen = [f"{name} {'/'.join(versions[name])}" for name in ("python", *IMPORTANT) if name in versions]
    locks = ", ".join(f"{lock['path']} {lock['sha256'][:_SHA]}" for lock in software["locks"])
    prints = sorted(set(code["fingerprints"].values()))
    return [
        *_item("code", f"commit {', '.join(commits) or 'not known'}; {counted(len(code['modules']), 'module')}, "
                       f"{counted(len(prints), 'fingerprint')}"),
        *_item("software", ", ".join(chosen)),
        *_item("lock", locks),
    ]  # fmt: skip


def _hardware(answer: Mapping[str, Any]) -> list[str]:
    lines = []
    machines: dict[tuple[str, str, str], dict[str, Any]] = {}
    for machine in answer["hardware"]:
        key = (machine["host"], json.dumps(machine["cpu"]), json.dumps(machine["gpus"]))
        known = machines.setdefault(key, {"machine": machine, "jobs": [], "deterministic": set()})
        known["jobs"] += machine["jobs"]
        if machine["determinism"]:
            known["deterministic"].add(machine["determinism"].get("deterministic_algorithms"))
    for known_machine in machines.values():
        machine = known_machine["machine"]
        cpu = machine["cpu"] or {}
        gpus = ", ".join(f"{gpu['name']} {gpu['uuid']} (driver {gpu['driver']})" for gpu in machine["gpus"])
        torch = "; torch deterministic" if True in known_machine["deterministic"] else ""
        lines += _item(
            "hardware",
            f"{machine['host']}: {cpu.get('model')}, {cpu.get('cores')} cores, {gpus or 'no GPU used'}; "
            f"{counted(len(known_machine['jobs']), 'job')}{torch}",
        )
    return _shortened(lines, 4)


def _again(answer: Mapping[str, Any]) -> list[str]:
    again = answer["again"]
    jobs = ", ".join(again["jobs"][:3]) + (", ..." if len(again["jobs"]) > 3 else "")
    return _item(
        "again",
        again["command"],
        f"took at most {_time(again['seconds'])} ({jobs}); everything from nothing "
        f"{_time(again['seconds_from_nothing'])}",
    )


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _warned(answer: Mapping[str, Any]) -> list[str]:
    lines = [f"  warning: {text}" for text in answer["warnings"]]
    return show.first(lines, 4, "  and {} more warnings; run: utopia verify")
