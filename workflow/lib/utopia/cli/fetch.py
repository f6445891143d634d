"""`utopia fetch`: get the data and weights that can be downloaded. No other command uses the network.

Keys of `--json`: `data` (the data folder), `coverage` (its table, null in a dry run), `transferred` (bytes), `rows`
(list of {dataset, subject, expected, obtained, missing: {reason: list of names}, transferred, failed}).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utopia.cli import options, show
from utopia.errors import ConfigError

if TYPE_CHECKING:
    from utopia.config.study import StudyBase
    from utopia.fetch.agreement import Look
    from utopia.fetch.coverage import FileOutcome
    from utopia.fetch.obtain import FetchOptions
    from utopia.fetch.recipe import FetchFile

_ROLES = ("annotations", "shots", "videos", "songs", "features", "information")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="data sets or weights (default: all of the study)")
    options.add_study(parser)
    parser.add_argument("--weights", action="store_true", help="the weights of the study, besides the data sets named")
    parser.add_argument("--only", metavar="ROLE", action="append", choices=_ROLES, help=f"only: {', '.join(_ROLES)}")
    parser.add_argument(
        "--from", dest="origins", metavar="FOLDER", action="append", type=Path, help="look in this folder first"
    )
    parser.add_argument(
        "--mirror", metavar="URL", action="append", help="try URL/<data set>/<file> before the original"
    )
    parser.add_argument("--verify", action="store_true", help="hash what is there, changed or not")
    parser.add_argument("--again", action="store_true", help="ask again for web videos that were gone or closed")
    parser.add_argument("--pause", metavar="SECONDS", type=float, help="least seconds between requests for web videos")
    parser.add_argument("--format", metavar="CHOICE", help="format of web videos, in yt-dlp's words")
    parser.add_argument("--tries", metavar="N", type=int, default=6, help="tries of a source in a row (default: 6)")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be fetched; no network")
    options.add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    """Fetch, print the coverage; 1 if something failed that another try or the user could repair."""
    from utopia.fetch import coverage
    from utopia.fetch.obtain import total

    study = _study(chosen)
    assert study.data is not None
    outcomes = _all(study, study.data, *_named(study, chosen), chosen) + _made(study, study.data, chosen)
    path = None if chosen.dry_run else coverage.write(outcomes, study.data)
    if chosen.json:
        rows = [_as_json(outcome) for outcome in outcomes]
        where = None if path is None else str(path)
        show.print_json({"data": str(study.data), "coverage": where, "transferred": total(outcomes), "rows": rows})
    else:
        print("\n".join(in_words(outcomes)))
        if path is not None:
            print(f"\n{show.bytes_in_words(total(outcomes))} transferred; table: {path}")
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _study(chosen: argparse.Namespace) -> StudyBase:
    """The study with its data folder, which is made if `--data` names one that is not there.

    Raises:
        ConfigError: no data folder is set, or the study generates its data.
    """
    chosen.study = chosen.study or "paper"
    if chosen.data and not chosen.dry_run:
        Path(chosen.data).expanduser().mkdir(parents=True, exist_ok=True)
    chosen.origins = [path.expanduser().absolute() for path in chosen.origins or ()]
    study = options.load_study(chosen)
    if study.generated is not None:
        raise ConfigError(
            f"the study {study.study!r} generates its own data: there is nothing to fetch",
            remedy="name another one: utopia fetch --study paper",
        )
    if study.data is None:
        raise ConfigError(
            "no data folder was given", remedy="name it: utopia fetch --data <folder>; or set `data` in config.yaml"
        )
    return study


def _named(study: StudyBase, chosen: argparse.Namespace) -> tuple[list[str], list[FetchFile]]:
    """The data sets and the files of weights that are meant.

    Raises:
        ConfigError: a name is neither.
    """
    from utopia.config.suggest import nearest
    from utopia.fetch import recipe

    datasets, weights = recipe.names(), recipe.load(recipe.WEIGHTS).files
    by_name = {name: file for file in weights for name in (file.known_as, file.name) if name}
    made = recipe.made_by()
    for name in chosen.names:
        if name not in datasets and name not in by_name and name not in made:
            raise ConfigError(
                f"nothing is known of how to fetch {name!r}{nearest(name, [*datasets, *by_name])}",
                remedy=f"data sets: {', '.join(datasets)}; weights: {', '.join(sorted([*by_name, *made]))}",
            )
    named = [name for name in chosen.names if name in datasets]
    files = [by_name[name] for name in chosen.names if name in by_name]
    nothing = not chosen.names
    if nothing and not chosen.weights:
        named = [name for name in type(study.datasets).model_fields if name in datasets]  # type: ignore[attr-defined]
    if chosen.weights or nothing:
        files += [by_name[name] for name in _weights_of(study) if name in by_name and by_name[name] not in files]
    return named, files


def _made(study: StudyBase, data: Path, chosen: argparse.Namespace) -> list[FileOutcome]:
    """Of the weights that are meant, those that nothing fetches: there, or by which command they are made."""
    from utopia.fetch import recipe
    from utopia.fetch.coverage import FileOutcome

    every = chosen.weights or not chosen.names
    names = [*chosen.names, *(_weights_of(study) if every else ())]
    outcomes = []
    for name in dict.fromkeys(name for name in names if name in recipe.made_by()):
        file, command = recipe.made_by()[name]
        is_made = (data / recipe.WEIGHTS / file).is_file()
        reasons = {} if is_made else {f"make it: {command}": (file,)}
        outcomes.append(
            FileOutcome(recipe.WEIGHTS, name, 1, int(is_made), reasons, failed=not (is_made or chosen.dry_run))
        )
    return outcomes


def _weights_of(study: StudyBase) -> list[str]:
    from utopia.features import cards

    return sorted({card for feature in cards.extracted(study).values() for card in cards.needed(feature.options)})


def _all(
    study: StudyBase, data: Path, datasets: Sequence[str], weights: Sequence[FetchFile], chosen: argparse.Namespace
) -> list[FileOutcome]:
    from utopia.fetch import recipe
    from utopia.fetch.obtain import ARCHIVES, obtain
    from utopia.fetch.record import FetchRecord

    record, fetching = FetchRecord(data), _fetch_options(chosen)
    outcomes: list[FileOutcome] = []
    archives = [{file.name for file in recipe.load(name).files if file.extract} for name in datasets]
    for number, name in enumerate(datasets):
        fetching = replace(fetching, keep=frozenset().union(*archives[number + 1 :]))
        folder = data / getattr(getattr(study.datasets, name, None), "folder", name)  # type: ignore[attr-defined]
        outcomes += obtain(name, recipe.load(name), folder, record, _for(name, fetching, chosen), _look(study, name))
    if not any(outcome.failed for outcome in outcomes):
        for file in set().union(*archives):
            (data / ARCHIVES / file).unlink(missing_ok=True)
    if weights:
        wanted = recipe.Recipe(files=list(weights))
        outcomes += obtain(recipe.WEIGHTS, wanted, data / recipe.WEIGHTS, record, fetching)
    return outcomes


def _fetch_options(chosen: argparse.Namespace) -> FetchOptions:
    from utopia.fetch.obtain import FetchOptions
    from utopia.fetch.transfer import Policy

    return FetchOptions(
        origins=chosen.origins,
        mirrors=chosen.mirror or (),
        roles=chosen.only or (),
        dry=chosen.dry_run,
        verify=chosen.verify,
        again=chosen.again,
        begin=_Shown,
        policy=Policy(attempts=max(1, chosen.tries)),
        told=lambda dataset, message: print(f"{dataset}: {message}", file=sys.stderr),
    )


def _for(name: str, fetching: FetchOptions, chosen: argparse.Namespace) -> FetchOptions:
    """The options of a data set, with what the command line says of its web videos."""
    from utopia.fetch import recipe, webvideo

    videos = recipe.load(name).videos
    if videos is None:
        return fetching
    pause = videos.pause if chosen.pause is None else chosen.pause
    return replace(fetching, videos=webvideo.RequestOptions(format=chosen.format or videos.format, pause=pause))


def _look(study: StudyBase, name: str) -> Look | None:
    """The data set's own way to find its files; None if it has no module."""
    from utopia.config import registry
    from utopia.fetch.agreement import Seen

    if name not in registry.names("datasets"):
        return None
    module, settings = registry.load("datasets", name), study.dataset(name).options

    def look(folder: Path) -> Seen:
        located = module.locate(folder, settings)
        items = module.items(located, settings)
        return Seen({item.id: item.files for item in items}, located.missing)

    return look


class _Shown:
    """A line of progress on the terminal; what is not a terminal gets a line at the beginning only."""

    def __init__(self, dataset: str, file: FetchFile) -> None:
        self._name, self._next, self._began, self._from = f"{dataset}: {file.name}", 0.0, time.monotonic(), -1
        self._live = sys.stderr.isatty()
        if not self._live:
            print(f"{self._name}: fetching", file=sys.stderr)

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if self._from < 0:
            self._from, self._began = done, now
        if not self._live or (now < self._next and done != total):
            return
        self._next = now + 0.2
        rate = show.bytes_in_words((done - self._from) / max(now - self._began, 1e-3))
        whole = f" of {show.bytes_in_words(total)}" if total else ""
        end = "\n" if done == total else ""
        print(
            f"\r{self._name}: {show.bytes_in_words(done)}{whole}, {rate}/s\x1b[K", end=end, file=sys.stderr, flush=True
        )


def _as_json(outcome: FileOutcome) -> dict[str, Any]:
    return {
        "dataset": outcome.dataset,
        "subject": outcome.subject,
        "expected": outcome.expected,
        "obtained": outcome.obtained,
        "missing": {reason: list(items) for reason, items in outcome.reasons.items()},
        "transferred": outcome.came,
        "failed": outcome.failed,
    }


def in_words(outcomes: Sequence[FileOutcome]) -> list[str]:
    """The coverage for people: a line per kind of file, its reasons below."""
    rows = [["data set", "what", "expected", "obtained", "missing"]]
    rows += [[o.dataset, o.subject, str(o.expected), str(o.obtained), str(o.expected - o.obtained)] for o in outcomes]
    first, *table = show.columns(rows, indent="")
    lines = [first]
    for line, outcome in zip(table, outcomes, strict=True):
        lines.append(line)
        for reason, items in outcome.reasons.items():
            count = f"{len(items)}: " if len(outcome.reasons) > 1 or (outcome.expected > 1 and len(items) > 1) else ""
            lines.append(f"    {count}{reason}")
    return lines
