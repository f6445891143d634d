"""docs/papers.md against the papers' headings and the code: every equation and section is there, and the code that
cites one is in its row."""

from __future__ import annotations

import functools
import importlib
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

from utopia.config.load import RESOURCES, load

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "workflow" / "lib" / "utopia"
PAGE = REPOSITORY / "docs" / "papers.md"
Paper = Literal["ULDA", "EEV 2021"]
PAPERS: tuple[Paper, ...] = ("ULDA", "EEV 2021")

# What the papers themselves number, transcribed from them. ULDA's section 6 is the list of references.
EQUATIONS = {"ULDA": ["1", "2", "3", "4", "5", "6", "7", "8", "9"], "EEV 2021": ["1"]}
ULDA = """
    1 2 2.1 2.2 3 3.1 3.2 3.3 3.3.1 3.3.2 3.3.3 3.4 4 4.1 4.2 4.3 4.4 4.5 4.6 4.6.1 4.6.2 4.6.3 5 6 7 7.1 7.2 7.3 7.4
"""
EEV = "1 2 2.1 2.2 3 3.1 3.2 4 4.1 4.2 4.3 4.4 4.5 5"
SECTIONS = {"ULDA": ULDA.split(), "EEV 2021": EEV.split()}
UNUSED = {"1", "9"}
"""ULDA's equations that only motivate the method."""

NUMBER = r"\d(?:\.\d){0,2}"
CITED = {
    "equation": re.compile(rf"\bEqs?\.\s+({NUMBER}(?:(?:,| and|, and| to)\s+{NUMBER})*)"),
    "section": re.compile(rf"\b[Ss]ecs?\.\s+({NUMBER}(?:(?:,| and|, and| to)\s+{NUMBER})*)"),
}
Row = dict[str, list[str]]


@functools.cache
def rows(kind: str) -> dict[tuple[str, str], list[list[str]]]:
    """By paper and number, the cells of a row of the page; a row without a number continues the one before."""
    found: dict[tuple[str, str], list[list[str]]] = {}
    paper, table, number = "", "", ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            paper = line.removeprefix("## ")
        if not line.startswith("|") or line.startswith("|---"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in CITED:
            table = cells[0]
        elif table == kind:
            number = cells[0] or number
            assert cells[0] == "" or (paper, number) not in found, f"{paper}: {kind} {number} stands there twice"
            found.setdefault((paper, number), []).append(cells[1:])
    return found


def names(cells: list[list[str]], column: int | None = None) -> list[str]:
    chosen = (cell for row in cells for cell in (row if column is None else row[column : column + 1]))
    return [name for cell in chosen for name in re.findall(r"`([\w.:]+)`", cell)]


def resolve(name: str) -> tuple[ModuleType, Any]:
    """The module that holds an object of the package, and the object."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(["utopia", *parts[:end]]))
        except ModuleNotFoundError:
            continue
        return module, functools.reduce(getattr, parts[end:], module)
    raise AssertionError(f"there is no utopia.{name}")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def expanded(text: str) -> list[str]:
    """The numbers of `3 to 6`, `7 and 8`, `3.1, 3.2`; of sections a range is its ends."""
    numbers = re.findall(NUMBER, text)
    if " to " in text and not any("." in number for number in numbers):
        return [str(number) for number in range(int(numbers[0]), int(numbers[-1]) + 1)]
    return numbers


def citations(text: str, kind: str) -> Iterator[tuple[Paper, str]]:
    """Paper and number of what a text cites; the paper is the one that was named last before."""
    text = re.sub(r"\s+(?:#\s+)?", " ", text)
    for match in CITED[kind].finditer(text):
        before = text[max(0, match.start() - 150) : match.start()]
        paper: Paper = "EEV 2021" if before.rfind("EEV") > before.rfind("ULDA") else "ULDA"
        for number in expanded(match[1]):
            yield paper, number


@pytest.mark.parametrize("paper", PAPERS)
def test_every_equation_and_every_section_is_there(paper: Paper) -> None:
    assert [number for of, number in rows("equation") if of == paper] == EQUATIONS[paper]
    assert [number for of, number in rows("section") if of == paper] == SECTIONS[paper]


@pytest.mark.parametrize("kind", list(CITED))
def test_every_object_setting_table_and_figure_exists(kind: str) -> None:
    study: Any = load(overrides={"study": "paper"})
    for cells in rows(kind).values():
        for name in names(cells):
            where, _, rest = name.rpartition(":")
            if where == "config":
                at = study
                for part in rest.split("."):
                    at = at[part] if isinstance(at, dict) else getattr(at, part)
            elif where:
                assert (RESOURCES / f"{where}s" / f"{rest}.yaml").is_file(), name
            else:
                resolve(name)


def test_what_implements_an_equation_says_so() -> None:
    """Both ways, a number that is one off is found: here by the docstring, below by the row."""
    for (paper, number), cells in rows("equation").items():
        implementing = names(cells, column=1)
        assert bool(implementing) == (paper != "ULDA" or number not in UNUSED), f"{paper}, Eq. {number}"
        for name in implementing:
            _, found = resolve(name)
            said = set(citations(f"{paper.split()[0]} {found.__doc__}", "equation"))
            assert (paper, number) in said, f"the docstring of {name} does not cite Eq. {number}, but {sorted(said)}"


@pytest.mark.parametrize("kind", list(CITED))
def test_code_that_cites_a_number_stands_in_its_row(kind: str) -> None:
    listed = defaultdict(set)
    for place, cells in rows(kind).items():
        for name in names(cells):
            if ":" not in name:
                listed[place].add(resolve(name)[0].__name__.removeprefix("utopia."))
    wrong = [
        f"{module_name(path)} cites {paper}, {kind} {number}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for paper, number in sorted(set(citations(path.read_text(encoding="utf-8"), kind)))
        if module_name(path) not in listed[paper, number]
    ]
    assert wrong == [], "correct the number, or add the module to its row in docs/papers.md"


def test_no_text_cites_what_the_papers_do_not_number() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    kinds = (".py", ".md", ".yaml", ".rst", ".smk", ".json")
    wrong, seen = [], 0
    for name in tracked.splitlines():
        path = REPOSITORY / name
        if path.suffix not in kinds or name == "tests/contract/test_papers.py" or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        if "ULDA" not in text and "EEV" not in text:
            continue
        for kind, known in (("equation", EQUATIONS), ("section", SECTIONS)):
            for paper, number in citations(text, kind):
                seen += 1
                if number not in known[paper]:
                    wrong.append(f"{name}: {paper} has no {kind} {number}")
    assert seen > 100 and wrong == []


def test_the_checks_would_find_numbers_that_are_one_off() -> None:
    assert list(citations("TNS of ULDA (Eqs. 3 to 5), see EEV 2021 sec. 3.3", "equation")) == [
        ("ULDA", "3"),
        ("ULDA", "4"),
        ("ULDA", "5"),
    ]
    assert list(citations("TNS of ULDA (Eqs. 3 to 5), see EEV 2021 sec. 3.3", "section")) == [("EEV 2021", "3.3")]
    assert "3.3" not in SECTIONS["EEV 2021"]
    assert list(citations("ULDA secs. 4.2 and 7.3, and\n    # sec. 4.6.1", "section")) == [
        ("ULDA", "4.2"),
        ("ULDA", "7.3"),
        ("ULDA", "4.6.1"),
    ]
