"""Plain words and short lines: what is written for people uses usual words, and fits a window."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from utopia.errors import counted

REPOSITORY = Path(__file__).resolve().parents[2]
WIDEST = 120
ODD = {
    r"(?<!I )\bgot\b": "has, downloaded, received",
    r"\bmay be got\b|\bto be got\b": "can be downloaded",
    r"\bhave not got\b|\bhas not got\b": "does not have",
    r"\b(?:can|cannot|could|be) (?:not )?be had\b|\bto be had\b": "is (not) available",
    r"\bgone on\b": "continued",
    r"\banew\b": "again; made anew: regenerated",
    r"\bstands? in for\b|\bstands? in where\b": "replaces, is used for",
    r"\b(?:that|which|what|it) stands in (?:the|a|its|one)\b": "is in",
    r"\bfor who\b(?! in)": "for those who",
    r"\bof which\b": "split the sentence",
    r"\bas far as (?:it|they|that) (?:tells?|says?)\b": "as far as is known",
    r"\b(?:with|from|than|against) print\b|\bIn print\b|\bin print (?:the|this|both)\b": "published value, paper",
    r"\bprint \.?\d": "published",
    r"\bspeaks? on\b": "is used for",
    r"\bis not one of single\b": "has no value per item",
    r"\bhangs? on (?:a|the|what|that|it|all)\b": "depends on",
    r"\bthe very (?!first|last|same)\w": "exactly the",
    r"\bturns? out\b": "is",
    r"\bwhat becomes of\b": "what happens with",
    r"\bamiss\b": "wrong",
    r"\bnought\b": "zero, nothing",
    r"\b(?:there|where|here)(?:of|upon|unto|from)\b(?<!therefrom)": "say it in two sentences",
    r"\bbears? out\b|\b(?:it|key|id) bears\b": "supports, has",
    r"\bmends? (?:it|them|by)\b|\bcan mend\b|\bto be mended\b": "repairs, corrects",
    r"\bstands? on (?:a|the|it|one|three|such|no|them|features)\b": "is computed from, depends on",
    r"\bstands? behind\b": "is the source of",
    r"\bthe house is built\b": "how the project is organised",
}
"""What is odd or old, and what to write in its place."""
OURS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "Makefile", "Snakefile", "config.yaml")
FOLDERS = ("docs", "config", "envs", "profiles", "workflow")
KINDS = (".md", ".py", ".smk", ".yaml", ".rst", ".sh", ".jinja", ".js", ".toml", "")
NOT_OURS = re.compile(r"workflow/resources/(?:datasets/pmemo\.yaml|embedded/)|workflow/schemas/|envs/\w+\.txt")


@cache
def committed() -> tuple[str, ...]:
    words = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository: the list of its files is not known")
    return tuple(name for name in sorted(listed.split("\0")) if name and (REPOSITORY / name).is_file())


def written_for_people() -> list[str]:
    """Files whose sentences are read: documentation, and code with its messages, comments and docstrings."""
    return [
        name
        for name in committed()
        if (name in OURS or name.startswith(tuple(f"{folder}/" for folder in FOLDERS)))
        and Path(name).suffix in KINDS
        and not NOT_OURS.match(name)
    ]


def sentences(text: str) -> str:
    """The text with its line breaks, and the marks of comments at their start, as single blanks."""
    return re.sub(r"\s*\n\s*(?:#+ |// |\.\. )?\s*", " ", text)


def odd_words(text: str) -> list[str]:
    flat = sentences(text)
    return [f"{match[0]!r} ({better})" for odd, better in ODD.items() for match in re.finditer(odd, flat)]


def test_the_files_are_looked_at() -> None:
    names = written_for_people()
    assert len(names) > 400
    assert {"docs/index.md", "workflow/lib/utopia/cli/main.py", "workflow/report/ulda_table_1.rst"} <= set(names)


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ("it will be made anew", "it will be regenerated"),
        ("features, of\n    which one is", "features; one of them is"),
        ("# not comparable with\n# print", "not comparable with the published value"),
        ("print 0.079", "print 'the value'"),
        ("data that may be got", "data that can be downloaded"),
        ("for who has no other", "for those who have no other"),
        ("as far as it tells", "as far as is known"),
        ("this metric is not one of single items", "no value per video, so no interval"),
        ("it speaks on the test videos alone", "it is used for test predictions only"),
        ("a program stands in for it", "a program replaces it"),
        ("gone on with", "continued"),
        ("what you have not got is a hole", "missing data leave empty cells"),
        ("labels that hang on a cue", "labels that depend on a cue"),
    ],
)
def test_the_patterns_find_what_they_are_for(odd: str, plain: str) -> None:
    assert odd_words(odd) and not odd_words(plain)


def test_words_are_plain() -> None:
    """Files of the page of results are in it as any other: their words are read by more people than most."""
    faults = {
        name: words
        for name in written_for_people()
        if (words := odd_words((REPOSITORY / name).read_text(encoding="utf-8")))
    }
    assert faults == {}, "use the usual word: the list in this file says which"


def long_lines(text: str) -> list[int]:
    """Numbers of lines that are too long and could be shorter: no rows of tables, no code, no single long word."""
    found, code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif len(line) <= WIDEST or code or line.startswith(("|", "$$")):
            continue
        elif max(map(len, line.split())) < WIDEST // 2:
            found.append(number)
    return found


def test_lines_of_documentation_fit_a_window() -> None:
    """The changelog is left out: it is a list of what was written at many times."""
    pages = [name for name in committed() if name.endswith((".md", ".rst")) and name != "CHANGELOG.md"]
    pages = [name for name in pages if not name.startswith("results/")]
    assert len(pages) > 60
    faults = {name: lines for name in pages if (lines := long_lines((REPOSITORY / name).read_text(encoding="utf-8")))}
    assert faults == {}, f"wrap them at {WIDEST} characters"


def test_what_cannot_be_wrapped_is_let_through() -> None:
    wide = "word " * 30
    assert long_lines(wide) == [1] and long_lines(f"| {wide} |") == [] and long_lines(f"```\n{wide}\n```") == []
    assert long_lines(f"[a](https://example.org/{'x' * 120})") == []


def test_the_glossary_defines_each_word_once_and_only_words_that_are_used() -> None:
    rows = re.findall(r"^\| ([a-z][^|]*?) \| [^|]+ \|$", (REPOSITORY / "docs/glossary.md").read_text(), re.MULTILINE)
    words = [word for row in rows for word in row.split(", ") if row != "word"]
    assert len(words) > 40 and len(words) == len(set(words))
    pages = [name for name in written_for_people() if name != "docs/glossary.md"]
    written = "\n".join((REPOSITORY / name).read_text(encoding="utf-8").lower().replace("_", " ") for name in pages)
    assert [word for word in words if not re.search(rf"\b{word}", sentences(written))] == []


COUNTED = re.compile(r"(?<! of )\{len\((?:[^{}()]|\([^{}()]*\))*\)\} (?!as |is |has )[a-z]+s\b")
"""A number in a message with its thing in the plural. `N of M things` reads right for one."""
MESSAGES = ("cli", "provenance", "plan", "evaluation", "datasets", "fetch", "labels")


def test_messages_read_right_for_one() -> None:
    """`1 job`, not `1 jobs`: what may be one is said by `errors.counted`, or the line has its own case for it."""
    assert COUNTED.search('f"{len(found)} jobs"') and not COUNTED.search('f"{done} of {len(found)} jobs"')
    assert [counted(number, "job is", "jobs are") for number in (0, 1, 2)] == ["0 jobs are", "1 job is", "2 jobs are"]
    assert counted(1, "seed") == "1 seed" and counted(3, "seed") == "3 seeds"
    wrong = [
        f"{path.name}: {line.strip()}"
        for package in MESSAGES
        for path in sorted((REPOSITORY / "workflow/lib/utopia" / package).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if COUNTED.search(line) and "== 1 else" not in line and "> 1 else" not in line
    ]
    # "all 12 tables would be empty" and "the 100 jobs" are never of one
    assert [line for line in wrong if "all {len(empty)} tables" not in line and "the {len(" not in line] == []
