"""`utopia verify --predict`, `--retrain` and `--reextract`: chosen results again, beside the stored ones.

Snakemake runs in a scratch folder in which the raw files that the study generated (and, of `--retrain`, the stored
features) have a second name; the study's own folder is only read. Keys of `--json`: `study`, `tier` (`predict`,
`retrain`, `reextract`), `sound`, `compared` (list of {name, then, now, tolerance, verdict}), `seconds`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utopia.cli import engine, options, show
from utopia.errors import ConfigError, UtopiaError

if TYPE_CHECKING:
    from utopia.config.study import StudyBase
    from utopia.provenance.lineage import CellRuns, Graph
    from utopia.provenance.reproduction import Reproduction

_RAW = "inputs/raw"
"""What the study's own folder holds that nothing was made from."""


def run(chosen: argparse.Namespace, study: StudyBase, graph: Graph) -> int:
    """Make the chosen cells' runs or features again and compare; 1 if anything is different."""
    tier = next(name for name in ("predict", "retrain", "reextract") if getattr(chosen, name) is not None)
    cells = [_cell(graph, name) for name in getattr(chosen, tier)]
    started = time.perf_counter()
    if tier == "predict":
        compared = _predict(graph, cells)
    else:
        if study.root.is_absolute():
            raise ConfigError(
                "`results` is an absolute path, so that nothing can be made again beside it",
                remedy="name the results folder relative to the repository",
            )
        repeat = _retrain if tier == "retrain" else _reextract
        with tempfile.TemporaryDirectory(prefix="utopia-again-", dir=chosen.scratch) as folder:
            compared = repeat(chosen, study, graph, cells, Path(folder))
    sound = all(result.verdict != "different" for result in compared)
    seconds = time.perf_counter() - started
    answer = {"study": study.study, "tier": tier, "sound": sound, "compared": [result.as_dict() for result in compared]}
    show.answer(chosen, {**answer, "seconds": round(seconds, 1)}, _in_words(compared, seconds))
    return 0 if sound else 1


def _cell(graph: Graph, name: str) -> CellRuns:
    from utopia.config.suggest import nearest

    cell = graph.cells.get(name)
    if cell is None or not cell.runs:
        measured = [measured_cell.id for measured_cell in graph.cells.values() if measured_cell.runs]
        raise UtopiaError(
            f"there is no measured cell {name!r}{nearest(name, measured)}", remedy="name one as table/row/column"
        )
    return cell


def _predict(graph: Graph, cells: Sequence[CellRuns]) -> list[Reproduction]:
    """Predictions from the stored checkpoints of the runs behind cells; of all runs where no cell is named."""
    from utopia.provenance.recompute import TRAINING, is_made_by
    from utopia.provenance.reproduction import repeated_predictions, runs_of

    runs = runs_of(graph, cells) if cells else None
    results = []
    for record in graph.ledger.records:
        made = {run for path in graph.latest(record) if (run := graph.run_of(path))}
        wanted = made if runs is None else made & set(runs)
        if wanted and is_made_by(record, TRAINING):
            results += repeated_predictions(record, graph.ledger.portable, wanted)
    return results


def _retrain(
    chosen: argparse.Namespace, study: StudyBase, graph: Graph, cells: Sequence[CellRuns], scratch: Path
) -> list[Reproduction]:
    from utopia.provenance.reproduction import compare_cell, compare_files, is_stacked, link, runs_of

    runs = runs_of(graph, cells)
    # One run a job, so that nothing else is trained; a stacked pack repeats as a whole only.
    alone = {} if any(is_stacked(graph, run) for run in runs) else {"runs": 1}
    targets = [f"{graph.root}/runs/{run}/metrics.csv" for run in runs]
    first = re.compile(re.escape(graph.root) + r"/(inputs/[^/]+\.json|labels/.+\.safetensors)")
    before = sorted(filter(first.fullmatch, graph.ancestors(targets)))
    link(study.root / _RAW, scratch / study.root / _RAW)
    _make(chosen, study, scratch, before)
    link(study.root / "features", scratch / study.root / "features")
    _age(scratch / study.root)
    _make(chosen, study, scratch, targets, alone)
    compared = [*compare_files(graph, before, scratch), *_predict(graph, cells)]
    return [*compared, *(compare_cell(graph, cell, scratch, chosen.tolerance) for cell in cells)]


def _age(folder: Path) -> None:
    """Let manifests that were made just now be older than the features that were made from their former selves.

    Otherwise Snakemake would extract these again.
    """
    times = [path.stat().st_mtime_ns for path in (folder / "features").glob("*/*.json")]
    for path in (folder / "inputs").glob("*.json"):
        os.utime(path, ns=(min(times),) * 2) if times else None


def _reextract(
    chosen: argparse.Namespace, study: StudyBase, graph: Graph, cells: Sequence[CellRuns], scratch: Path
) -> list[Reproduction]:
    from utopia.provenance.reproduction import compare_features, link

    above = graph.ancestors(path for cell in cells for path in graph.files_of(cell, value_only=True))
    store, start = f"{graph.root}/features/store/", f"{graph.root}/features/"
    indexes = sorted(path for path in above if path.startswith(start) and not path.startswith(store))
    if not indexes:
        raise UtopiaError("these cells use no features", remedy="name a cell that belongs to a trained run")
    link(study.root / _RAW, scratch / study.root / _RAW)
    _make(chosen, study, scratch, indexes)
    return compare_features(graph, indexes, scratch)


def _make(
    chosen: argparse.Namespace,
    study: StudyBase,
    scratch: Path,
    targets: Sequence[str],
    engine_settings: Mapping[str, Any] | None = None,
) -> None:
    """Let Snakemake make files below the scratch folder, with other settings of `engine` where some are given.

    Raises:
        UtopiaError: it fails, with its last words.
    """
    repository = Path.cwd()
    settings = {"study": study.study} | options.overrides(chosen)
    if engine_settings:
        settings["engine"] = {**settings.get("engine", {}), **engine_settings}
    command = engine.command(
        settings,
        *("--snakefile", str(repository / "Snakefile"), "--directory", str(scratch), "--cores", chosen.cores),
        *("--rerun-triggers", "mtime"),
        extra=[
            *(["--configfile", *chosen.configfile] if chosen.configfile else []),
            "--",
            *targets,
        ],
    )
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    missing = [path for path in targets if not (scratch / path).is_file()]
    if done.returncode or missing:
        raise UtopiaError(
            f"Snakemake could not make {', '.join(missing or targets)} again", why="see what it said above"
        )


def _in_words(compared: Sequence[Reproduction], seconds: float) -> list[str]:
    rows = [
        [
            result.name,
            result.verdict,
            "" if result.then is None else f"{result.then!r} -> {result.now!r} (tolerance {result.tolerance:g})",
        ]
        for result in compared
    ]
    count = {
        word: sum(result.verdict == word for result in compared)
        for word in ("identical", "within tolerance", "different")
    }
    words = ", ".join(f"{number} {word}" for word, number in count.items() if number)
    return [*show.columns(rows), f"{words or 'nothing to compare'}; {seconds:.0f} s"]
