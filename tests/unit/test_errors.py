"""Messages for people."""

from __future__ import annotations

import pickle

import pytest

from utopia.errors import ChecksumError, ComputeError, ConfigError, InputError, UtopiaError

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
