from __future__ import annotations

from pathlib import Path

import pytest

from utopia.config import registry
from utopia.config.load import REPOSITORY, load
from utopia.files import write_json
from utopia.plan import cost
from utopia.plan.plan import Plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        return Plan(load({"study": "miniature"}))


def test_cost_of_the_miniature(plan: Plan, tmp_path: Path) -> None:
    """Clips of 60 s: 2 frames a second of GoogLeNet at half its side, and a patch of VGGish every 0.96 s."""
    clips = len(plan.datasets["liris"].with_video)
    found = cost.extraction(plan.study, plan.datasets["liris"], tmp_path / "none.json")
    assert clips and found is not None and (found.videos, found.seconds) == (clips, clips * 60)
    assert found.rows == clips * (120 + 63)
    expected = clips * (60 * 0.03 + 120 * 0.055 / 4 + 63 * 0.037)
    assert found.cpu_seconds == pytest.approx(expected, abs=0.5)
    assert found.gpu_seconds is None and not found.unknown
    assert f"{clips} videos" in cost.in_words(found)


def test_a_manifest_knows_better(plan: Plan, tmp_path: Path) -> None:
    items = [{"id": name, "facts": {"duration_s": 10.0}} for name in plan.datasets["liris"].with_video[:3]]
    write_json(tmp_path / "liris.json", {"items": [*items, {"id": "another", "facts": {"duration_s": 9.0}}]})
    found = cost.extraction(plan.study, plan.datasets["liris"], tmp_path / "liris.json")
    assert found is not None and (found.videos, found.seconds, found.rows) == (3, 30, 3 * (20 + 11))


def test_nothing_extracted_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    absent = Plan(load({"study": "paper"}))
    assert all(cost.extraction(absent.study, there, Path("none")) is None for there in absent.datasets.values())


def test_rates_are_of_extractors_that_exist() -> None:
    assert set(cost.CPU_SECONDS_PER_ROW) <= set(registry.names("extractors"))
