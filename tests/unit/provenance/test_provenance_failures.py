"""Failures: read back, told apart from what only looks alike, and grouped by cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from utopia import files
from utopia.errors import InputError, UtopiaError
from utopia.provenance import failures
from utopia.provenance.failures import Failure


def failure(what: str, **changes: object) -> Failure:
    return Failure(**{"rule": "train_run", "error": "InputError", "expected": True, "what": what, **changes})  # type: ignore[arg-type]


def test_names_and_numbers_do_not_split_a_cause() -> None:
    causes = failures.group(
        [
            failure("frame 12 of 300 in data/a.mp4 is damaged", wildcards={"run": "summe.et"}, where="data/a.mp4"),
            failure("frame 7 of 41 in data/b.mp4 is damaged", wildcards={"run": "tvsum.et"}, where="data/b.mp4"),
            failure("run summe.et has no labels", wildcards={"run": "summe.et"}),
            failure("run tvsum.et has no labels", wildcards={"run": "tvsum.et"}),
            failure("run tvsum.et has no labels", wildcards={"run": "tvsum.et"}, error="ComputeError"),
            failure("interrupted", status="interrupted"),
        ]
    )
    assert [len(cause.failures) for cause in causes] == [2, 2, 1, 1]
    assert causes[0].headline == "frame 12 of 300 in data/a.mp4 is damaged"
    assert causes[-1].first.status == "interrupted"


def test_a_short_wildcard_does_not_garble_numbers() -> None:
    first = failure("12 of 300 are wrong", wildcards={"d": "1"})
    second = failure("22 of 300 are wrong", wildcards={"d": "2"})
    assert len(failures.group([first, second])) == 1


def test_the_headline_names_the_place_that_all_share_and_the_class_of_a_surprise() -> None:
    same = [failure("cannot read", where="labels.csv", rule=rule) for rule in ("a", "b")]
    assert failures.group(same)[0].headline == "labels.csv: cannot read"
    surprise = failure("by zero\nmore", error="ZeroDivisionError", expected=False)
    assert failures.group([surprise])[0].headline == "ZeroDivisionError: by zero"


def test_what_is_written_is_read_back_and_what_is_damaged_is_shown(tmp_path: Path) -> None:
    facts = {
        "schema": 1,
        "rule": "r",
        "wildcards": {"d": "x"},
        "what": "no",
        "ended": "2",
        "later_field": 1,
        "outputs": [],
    }
    files.write_json(tmp_path / "r" / "x.log.failed.json", facts)
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "y.log.failed.json").write_text("{")
    damaged, good = failures.below(tmp_path)
    assert (good.name, good.what) == ("r (d=x)", "no")
    assert damaged.rule == "q"
    assert "not a readable record" in damaged.what
    with pytest.raises(UtopiaError):
        failures.read(tmp_path / "none")


@pytest.mark.parametrize(
    ("said", "log", "what"),
    [
        ("Command 'x' died with <Signals.SIGKILL: 9>.", "last words", "killed from outside"),
        ("Command 'x' returned non-zero exit status 137.", "", "killed from outside"),
        ("Command 'x' returned non-zero exit status 1.", "first\n\nlast words\n\n", "last words"),
        (
            "Command 'x' died with <Signals.SIGSEGV: 11>.",
            "INFO at work on one\nINFO 1/2 one: 3 s\nINFO at work on song_7\n",
            "crashed (SIGSEGV): a fault of a library, or of the hardware, while at work on song_7",
        ),
        ("Command 'x' died with <Signals.SIGSEGV: 11>.", "INFO all is well\n", "crashed (SIGSEGV)"),
        ("Command 'x' returned non-zero exit status 139.", "INFO all is well\n", "crashed (SIGSEGV)"),
        ("Command 'x' returned non-zero exit status -6.", "INFO all is well\n", "crashed (SIGABRT)"),
        ("Command 'x' returned non-zero exit status 152.", "INFO all is well\n", "ended from outside (SIGXCPU)"),
        ("Command 'x' returned non-zero exit status 250.", "last words\n", "last words"),
        ("RuleException:\nCommand 'x' returned non-zero exit status 3.", "", "exit status 3, before it wrote"),
        ("MissingOutputException in rule x:\nJob 1  completed\nbut not", "", "Job 1  completed but not"),
        ("", "", "ended without a message"),
    ],
)
def test_a_job_that_left_no_word_is_described_by_what_is_known(tmp_path: Path, said: str, log: str, what: str) -> None:
    path = tmp_path / "job.log"
    path.write_text(log)
    failure = failures.silent("r", {}, str(path), said=said)
    assert failure.what.startswith(what) and "well" not in failure.what


def test_the_tail_of_a_log_leaves_out_its_header_and_reads_only_the_end(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    path.write_text(f"header\n{failures.HEADER_END}one\n\n  two  \n")
    assert failures.tail(path, 10) == ["one", "  two"]
    path.write_text("x" * 100_000 + "\nlast\n")
    assert failures.tail(path, 1) == ["last"]
    path.write_bytes(b"\xff\xfe broken\n")
    assert len(failures.tail(path, 5)) == 1
    assert failures.tail(tmp_path / "none", 5) == []
    assert failures.tail(None, 5) == []


def test_remedies() -> None:
    assert failures.remedy_for(InputError("x", remedy="do that")) == "do that"
    assert "disk" in failures.remedy_for(OSError(28, "No space left on device"))
    assert "memory" in failures.remedy_for(MemoryError())
    assert failures.remedy_for(ValueError()) == ""
