"""Messages for people."""

from __future__ import annotations

import json
import pickle

import pytest

from utopia.errors import ChecksumError, ComputeError, ConfigError, InputError, UtopiaError, error_of, facts_of

KINDS = [UtopiaError, ConfigError, InputError, ChecksumError, ComputeError]


def test_a_message_has_all_its_parts() -> None:
    error = InputError("it is damaged", where="a.mp4:3", why="one video is missing", remedy="copy it again")
    assert str(error).splitlines() == [
        "a.mp4:3: it is damaged",
        "  why it matters: one video is missing",
        "  what to do:     copy it again",
    ]
    assert str(InputError("it is damaged")) == "it is damaged"


@pytest.mark.parametrize("kind", KINDS)
def test_errors_pass_between_processes(kind: type[UtopiaError]) -> None:
    error = kind("what", where="where", why="why", remedy="remedy")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own object)
    assert type(again) is kind
    assert str(again) == str(error)
    assert (again.what, again.where, again.why, again.remedy) == ("what", "where", "why", "remedy")
    assert str(pickle.loads(pickle.dumps(kind("only what")))) == "only what"  # noqa: S301


@pytest.mark.parametrize(("kind", "code"), [(kind, 2 if kind is ConfigError else 1) for kind in KINDS])
def test_exit_codes(kind: type[UtopiaError], code: int) -> None:
    assert kind("x").exit_code == code


def test_kinds_can_be_caught_together() -> None:
    assert issubclass(ChecksumError, InputError)
    assert all(issubclass(kind, UtopiaError) for kind in KINDS)


class OwnError(InputError):
    """A kind that `errors` does not know."""


def told(error: Exception, *kinds: type[UtopiaError]) -> Exception:
    """What another process is told of an error that was raised, by way of JSON."""
    try:
        raise error
    except Exception as raised:
        facts = json.loads(json.dumps(facts_of(raised)))
    assert "in told" in facts["trace"]
    return error_of(facts, *kinds)


@pytest.mark.parametrize(
    ("error", "kinds", "kind"),
    [
        (InputError("damaged", where="a.mp4", why="no frames", remedy="fetch it again"), (), InputError),
        (OwnError("silent", where="a.mp4"), (OwnError,), OwnError),
        (ValueError("nobody foresaw this"), (), ValueError),
        (MemoryError("no room"), (), MemoryError),
    ],
)
def test_an_error_is_the_same_in_another_process(
    error: Exception, kinds: tuple[type[UtopiaError], ...], kind: type[Exception]
) -> None:
    other = told(error, *kinds)
    assert type(other) is kind and str(other) == str(error) and other.__cause__ is None


def test_an_error_of_an_unknown_kind_says_which_it_was() -> None:
    other = told(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"))
    assert type(other) is RuntimeError and str(other).startswith("UnicodeDecodeError: ")


@pytest.mark.parametrize(("cause", "kind"), [(FileNotFoundError("x"), OSError), (MemoryError(), MemoryError)])
def test_a_cause_in_the_machine_is_told_too(cause: Exception, kind: type[Exception]) -> None:
    error = InputError("cannot be read")
    error.__cause__ = cause
    assert type(told(error).__cause__) is kind
