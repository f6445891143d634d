"""Verdicts by hand-computed cases."""

from __future__ import annotations

import math
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia.evaluation import verdict
from utopia.evaluation.verdict import Verdict, rounded

# t(.975, 2) = 4.30265; sqrt(1/3 + 1/3) = .81650: half the interval is 3.51308 std for three repeats.
HALF = 3.51308
judge = partial(verdict.judge, repeats=3)
distance = partial(verdict.distance, repeats=3)


def test_rounds_to_the_same() -> None:
    assert judge(0.06849, 0.0, 3, 0.068, 3).text == verdict.SAME
    assert judge(0.06849, None, 1, 0.068, 3).text == verdict.SAME
    assert judge(54.649, 1.0, 3, 54.6, 1).sign == "="
    assert judge(-0.0002, 0.1, 3, 0.0, 3).text == verdict.SAME


def test_inside_our_interval() -> None:
    found = judge(0.075, 0.002, 3, 0.069, 3)
    assert found.text == verdict.INSIDE and found.sign == "≈"
    assert "0.0070" in found.reason and "3 repeats against 3" in found.reason
    # The published value is known to +-.0005 only: .08253 = .075 + .00703 + .0005 is the farthest that still meets.
    assert judge(0.075, 0.002, 3, 0.0825, 4).text.startswith(verdict.OUTSIDE)
    assert judge(0.075, 0.002, 3, 0.082, 3).text == verdict.INSIDE


def test_outside_by_how_much() -> None:
    found = judge(50.0, 1.0, 3, 60.0, 1)
    # 10 - 3.51308 - .05
    assert found.text == "outside by 6.4" and found.sign == "≠"
    assert distance(50.0, 1.0, 3, 60.0, 1) == pytest.approx(10 - HALF - 0.05, abs=1e-4)
    assert judge(0.5, 0.0, 3, 0.512, 3).text == "outside by 0.012"


def test_one_repeat_has_no_interval() -> None:
    found = judge(54.3, None, 1, 54.0, 0)
    assert found.text == verdict.SAME
    found = judge(52.0, None, 1, 54.0, 0)
    assert found.text == "outside by 1.5" and "one repeat" in found.reason


def test_more_repeats_narrow_the_interval() -> None:
    """Two repeats: t(.975, 1) = 12.706, sqrt(1/2 + 1/3) = .91287; ten: 2.26216, sqrt(1/10 + 1/3) = .65828."""
    assert distance(0.0, 1.0, 2, 20.0, 0) == pytest.approx(20 - 0.5 - 12.7062 * 0.912871, abs=1e-3)
    assert distance(0.0, 1.0, 10, 20.0, 0) == pytest.approx(20 - 0.5 - 2.262157 * 0.658281, abs=1e-4)


def test_a_paper_that_says_nothing_of_repeats_may_have_trained_once() -> None:
    """t(.975, 2) = 4.30265; sqrt(1/3 + 1/1) = 1.15470: half the interval is 4.96827 std."""
    assert verdict.distance(50.0, 1.0, 3, 60.0, 1) == pytest.approx(10 - 4.96827 - 0.05, abs=1e-4)
    found = verdict.judge(50.0, 1.0, 3, 54.0, 1)
    assert found.text == verdict.INSIDE and "3 repeats against an unknown number, taken as 1" in found.reason
    assert judge(50.0, 1.0, 3, 54.0, 1).text.startswith(verdict.OUTSIDE), "three repeats would have settled it"


def test_nothing_to_compare() -> None:
    assert judge(0.1, 0.1, 3, None, 3) == Verdict(verdict.NOT_PRINTED)
    assert judge(0.068, 0.1, 3, 0.068, 3, "miniature data") == Verdict(verdict.NOT_COMPARABLE, "miniature data")
    assert judge(0.1, 0.1, 3, None, 3, "14 of 25 videos").reason == "14 of 25 videos"
    assert judge(0.1, 0.1, 3, None, 3).sign == ""


def test_rounded() -> None:
    assert rounded(-0.0004, 3) == "0.000"
    assert rounded(-0.0006, 3) == "-0.001"
    assert rounded(54.65, 1) == "54.6"  # 54.65 is stored as 54.6499...
    assert rounded(55.0, 0) == "55"


@given(
    st.floats(-100, 100),
    st.one_of(st.none(), st.floats(0, 10)),
    st.integers(1, 9),
    st.floats(-100, 100),
    st.integers(0, 4),
)
def test_a_verdict_is_always_one_of_three(
    value: float, std: float | None, n: int, published: float, decimals: int
) -> None:
    found = judge(value, std, n, round(published, decimals), decimals)
    away = distance(value, std, n, round(published, decimals), decimals)
    assert found.sign in ("=", "≈", "≠")
    if found.sign == "≈":
        assert away == 0
    if found.text.startswith(verdict.OUTSIDE):
        assert found.sign == "≠" and math.isclose(float(found.text.split()[-1]), away, rel_tol=0.1, abs_tol=0.06)


def compared(p: float, text: str = verdict.BETTER, identity: object = None) -> verdict.Difference:
    return verdict.Difference(identity if identity is not None else p, p, text)


def test_a_family_of_differences_by_hand() -> None:
    """.001 * 4 and .02 * 3 of four different comparisons; one of them is in two tables."""
    family = verdict.judge_family(
        {
            "a": compared(0.001),
            "b": compared(0.02, verdict.WORSE, "both"),
            "again": compared(0.02, verdict.WORSE, "both"),
            "c": compared(0.3, verdict.NOT_DISTINGUISHABLE),
            "d": compared(0.04),
        }
    )
    assert family.adjusted == pytest.approx({"a": 0.004, "b": 0.06, "again": 0.06, "c": 0.3, "d": 0.08})
    assert family.verdicts == {
        "a": verdict.BETTER, "b": "worse only by itself", "again": "worse only by itself",
        "c": verdict.NOT_DISTINGUISHABLE, "d": "better only by itself",
    }  # fmt: skip
    assert family.comparisons == 4 and family.by_chance == pytest.approx(0.1)
    assert dict(family.counts) == {
        verdict.BETTER: 1, "worse only by itself": 1, "better only by itself": 1, verdict.NOT_DISTINGUISHABLE: 1
    }  # fmt: skip


def test_settings_are_judged_apart_from_treatments() -> None:
    """Two treatments (p .02, .04, twice themselves) and two settings of one (p .01, .03) beside a label study."""

    def cell(row: str, run: str, against: str = "", p: float | None = None) -> verdict.Compared:
        difference = None if p is None else p + 0.1
        return verdict.Compared(f"t/{row}/c", [run], against, difference, p, "" if p is None else verdict.BETTER)

    family = verdict.judge_study(
        [
            cell("base", "d.et.baseline"),
            cell("cwl", "d.et.cwl", "base", 0.02),
            cell("tns", "d.et.tns_cwl@sigma=0.04", "base", 0.04),
            cell("a", "d.et.cwl@boundary=reflect", "cwl", 0.01),
            cell("b", "d.et.cwl@scope=train_set,heads=1", "cwl", 0.03),
            cell("c", "d.reference.label_study", "base", 0.001),
        ]
    )
    assert family.adjusted == pytest.approx({"t/cwl/c": 0.04, "t/tns/c": 0.04, "t/a/c": 0.02, "t/b/c": 0.03})
    assert family.verdicts["t/b/c"] == verdict.BETTER and family.comparisons == 2


def test_one_comparison_alone_and_none() -> None:
    assert verdict.judge_family({"a": compared(0.04)}).verdicts == {"a": verdict.BETTER}
    nothing = verdict.judge_family({})
    assert nothing.comparisons == 0 and nothing.by_chance == 0
