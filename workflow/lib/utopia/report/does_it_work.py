"""The page that answers whether the papers' method works (docs/does_it_work.md), from a study's tables alone.

Every sentence that depends on results is chosen by a rule from counts of verdicts, so that the page says whatever the
tables say.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from utopia.evaluation.metrics import TITLES
from utopia.evaluation.rounding import rounded
from utopia.evaluation.verdict import ALONE, BETTER, MARKS, NOT_DISTINGUISHABLE, WORSE, Family
from utopia.figures import sensitivity as figure_sensitivity
from utopia.figures.label_study import panel_name
from utopia.report.cells import adjusted_verdicts, read_cells
from utopia.tables.cells import Cell
from utopia.tables.layout import minus, signed

STUDY = "open"
"""The study that it is written from."""
PAGE = "docs/does_it_work.md"
LABELS, MODELS, CONTROL, CHOICES = "beyond_table_1", "beyond_studyforrest", "beyond_table_2", "beyond_sensitivity"
"""The tables that it reads; what a study does not have is left out."""
_ESTIMATES = {"as_is": "as they are", "ulda": "ULDA", "calibrated": "calibrated"}
_ULDA, _ORACLE = "ulda", "oracle"
_CONTROLS = ("calibrated", _ORACLE)
_BINS, _ANNOTATORS, _MOST = 10, 3, 10
_EMPTY = """\
No results of the study `open` are kept in this copy. `make results STUDY=open` makes them, without any data of yours,
and `make reference STUDY=open` writes this page from them."""


def page(folder: Path) -> str:
    """The whole page.

    Args:
        folder: what is kept of the study, `results/reference/open`; it need not be there.
    """
    parts = ["# Does it work?"]
    tables = {path.stem: read_cells(path) for path in sorted((folder / "tables").glob("*.csv"))}
    if not tables:
        return "\n\n".join([*parts, _EMPTY]) + "\n"
    cells, family = adjusted_verdicts(tables)
    parts.append(_lines(f"{_in_short(family)} {_INTRODUCTION}"))
    for name, section in ((LABELS, _labels), (MODELS, _models), (CONTROL, _control), (CHOICES, _choices)):
        if any(cell.status == "measured" for cell in cells.get(name, ())):
            parts += [*section(cells[name], folder / "tables" / f"{name}.csv")]
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = f"""\
Made by `make reference STUDY={STUDY}` from the kept results. Brackets and ± are 95 % intervals over test items and
seeds. {MARKS[BETTER]} better, {MARKS[WORSE]} worse, {MARKS[ALONE[BETTER]]} {MARKS[ALONE[WORSE]]} only if it were the
single comparison, {MARKS[NOT_DISTINGUISHABLE]} cannot be told from no difference ([statistics.md](statistics.md)).
Counts below take each comparison by itself."""


def _in_short(family: Family) -> str:
    """What all comparisons of trainings come to together; nothing where there is none."""
    if not family.comparisons:
        return ""
    counts = family.counts
    alone = counts.get(ALONE[BETTER], 0), counts.get(ALONE[WORSE], 0)
    said = answer(counts.get(BETTER, 0), counts.get(WORSE, 0), family.comparisons)
    return (
        "Utopia label distribution approximation (ULDA) against the same model without a treatment, and models against"
        f" a ridge regression, all judged together: **{said}** By themselves {alone[0]} more would be better and"
        f" {alone[1]} worse; chance alone would give up to {rounded(family.by_chance, 1)} of each."
    )


def answer(better: int, worse: int, total: int) -> str:
    """What counts of verdicts come to, in a sentence."""
    if not total:
        return "Nothing was compared."
    if better and worse:
        return f"It depends: {better} of {total} comparisons are better and {worse} worse."
    if better:
        return f"Yes, in {better} of {total} comparisons; none is worse."
    if worse:
        return f"No: {worse} of {total} comparisons are worse, and none is better."
    return f"Not measurably: none of {total} comparisons can be told from no difference."


def _verdict(cells: Iterable[Cell]) -> str:
    """The answer from cells that are judged each by itself."""
    counts = Counter(cell.difference_verdict for cell in cells if cell.difference_verdict)
    better, worse = (counts[text] + counts[ALONE[text]] for text in (BETTER, WORSE))
    return answer(better, worse, sum(counts.values()))


def _labels(cells: Sequence[Cell], _: Path) -> Iterator[str]:
    """Distributions of labels against that of the other annotators' mean."""
    start = f"b{_BINS}.k{_ANNOTATORS}."
    by_place = {(cell.row, cell.column): cell for cell in cells if cell.status == "measured"}
    columns = list(dict.fromkeys(cell.column for cell in cells if (f"{start}as_is", cell.column) in by_place))
    yield "## Is the approximated distribution nearer to the utopia distribution?"
    shown = {
        name: [by_place[place] for column in columns if (place := (start + name, column)) in by_place]
        for name in _ESTIMATES
    }
    verdicts = [f"{words}: {_verdict(shown[name])}" for name, words in _ESTIMATES.items() if name != "as_is"]
    yield _lines(
        f"Labels of {_ANNOTATORS} annotators against the mean label of the others, histograms of {_BINS} bins:"
        f" correlation (PCC, higher is better) and Wasserstein-1 distance (W1, lower is better). {' '.join(verdicts)}"
        f" `{LABELS}` has other numbers of annotators and bins, [calibrated.md](calibrated.md) the theory."
    )
    rows = []
    for column in columns:
        role, _dot, measure = column.rpartition(".")
        texts = []
        for name in _ESTIMATES:
            cell = by_place.get((start + name, column))
            texts.append("—" if cell is None else _with_ends(cell))
        rows.append([f"{_target(role)}: {measure.upper()}", *texts])
    yield _table(["labels", *_ESTIMATES.values()], rows)


def _target(role: str) -> str:
    dataset, _, target = role.partition(".")
    return panel_name(f"{dataset}.{target or 'importance'}")


def _models(cells: Sequence[Cell], _: Path) -> Iterator[str]:
    """Models on studyforrest, each against its baseline, and baselines against a ridge regression."""
    shown = [cell for cell in cells if cell.column.rpartition(".")[2] in ("mse", "pcc")]
    treated = [cell for cell in shown if cell.against and cell.against != "ridge"]
    yield "## Do models get better by it?"
    baselines = [cell for cell in shown if cell.against == "ridge"]
    yield _lines(
        "studyforrest, real labels of nine observers. Models without a treatment against a ridge regression:"
        f" {_verdict(baselines)} Treatments against the same model without one: {_verdict(treated)}"
    )
    yield _by_row([*baselines, *treated])


def _control(cells: Sequence[Cell], _: Path) -> Iterator[str]:
    """Treatments by an estimate, and with the true distribution, which no estimate can beat."""
    by_role: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        if cell.difference_verdict:
            estimate = next((name for name in _CONTROLS if cell.row.endswith(f".{name}")), _ULDA)
            by_role.setdefault(cell.column.rpartition(".")[0], {}).setdefault(estimate, []).append(cell)
    oracle = [cell for by_estimate in by_role.values() for cell in by_estimate.get(_ORACLE, [])]
    yield "## Could any estimate of the distribution help?"
    yield _lines(
        "Models trained on labels of some annotators and judged by the others. With the *true* distribution in place of"
        f" the estimate: {_verdict(oracle)} What it does not gain, no estimate of the distribution can. Better and"
        f" worse of all comparisons (`{CONTROL}` has each with its interval):"
    )
    names = [_ULDA, *_CONTROLS]
    yield _table(
        ["", "ULDA", "calibrated", "true distribution"],
        [
            [role.replace("_", " "), *(_counted(by_estimate.get(name, [])) for name in names)]
            for role, by_estimate in by_role.items()
        ],
    )


def _counted(cells: Sequence[Cell]) -> str:
    counts = Counter(cell.difference_verdict for cell in cells)
    better, worse = (counts[text] + counts[ALONE[text]] for text in (BETTER, WORSE))
    return f"{better} {MARKS[BETTER]} {worse} {MARKS[WORSE]} of {len(cells)}" if cells else "—"


def _choices(cells: Sequence[Cell], path: Path) -> Iterator[str]:
    """The choices that the papers leave open, those that change most."""
    choices = figure_sensitivity.read(path)[:_MOST]
    yield "## Which choices that the papers leave open matter most?"
    base = next((cell for cell in cells if not cell.against), None)
    yield _lines(
        f"One choice at a time against {base.name.rpartition(': ')[2] if base else 'the configuration'} on"
        f" studyforrest, in brackets its question in [open_questions.md](open_questions.md). The {len(choices)} of"
        f" {len({cell.row for cell in cells if cell.against})} that change most, by the mean of their ranks:"
    )
    columns = list(dict.fromkeys(cell.column for cell in cells))
    marks = {(cell.name, cell.column): cell.difference_verdict for cell in cells}
    names = {figure_sensitivity.in_words(cell.name, cell.keys): cell.name for cell in cells}
    rows = []
    for choice in choices:
        texts = []
        for column in columns:
            effect, mark = choice.effects.get(column), marks.get((names[choice.name], column), "")
            if effect is None:
                texts.append("—")
                continue
            texts.append(_with_half(effect.change, effect.low, effect.high, 3, mark))
        rows.append([choice.name, *texts])
    yield _table(["choice", *map(_column, columns)], rows)


def _column(column: str) -> str:
    target, _, metric = column.rpartition(".")
    return f"Δ {target} {TITLES.get(metric, metric.upper())}"


def _by_row(cells: Sequence[Cell]) -> str:
    """A line per row of a table, the differences in its columns."""
    columns = list(dict.fromkeys(cell.column for cell in cells))
    rows: dict[str, dict[str, str]] = {}
    for cell in cells:
        text = "—"
        if cell.difference is not None:
            ends = cell.difference_low, cell.difference_high
            text = _with_half(cell.difference, *ends, cell.decimals, cell.difference_verdict)
        against = " against ridge" if cell.against == "ridge" else ""
        rows.setdefault(f"{cell.name}{against}", {})[cell.column] = text
    lines = [[name, *(of_row.get(column, "—") for column in columns)] for name, of_row in rows.items()]
    return _table(["", *map(_column, columns)], lines)


def _with_ends(cell: Cell) -> str:
    """A value with its interval and the mark of its difference."""
    assert cell.value is not None
    text = minus(rounded(cell.value, cell.decimals))
    if cell.low is not None and cell.high is not None:
        text += f" [{minus(rounded(cell.low, cell.decimals))}, {minus(rounded(cell.high, cell.decimals))}]"
    return f"{text} {MARKS.get(cell.difference_verdict, '')}".strip()


def _with_half(change: float, low: float | None, high: float | None, decimals: int, verdict: str) -> str:
    """A difference with half the width of its interval, which lies around it evenly, and its mark."""
    half = f" ± {rounded((high - low) / 2, decimals)}" if low is not None and high is not None else ""
    return f"{signed(change, decimals)}{half} {MARKS.get(verdict, '')}".strip()


def _lines(text: str) -> str:
    """A paragraph in lines of at most 120 characters."""
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = [":---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))
