"""Tables that do not depend on where, in what order or in what pieces they are made; and those that do, by how much."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from harness import ONLY_TABLE, Study, copy_prepared, undisturbed

from utopia import arrays

pytestmark = pytest.mark.workflow

OLDER = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"}
"""What torch and its libraries do on a processor without AVX: other kernels, which add in another order."""
TOLERANCE = 5e-3
"""Of F-scores in per cent and of rank correlations: two of 190 pairs of frames that change their order in a video make
up 0.02 of its Kendall's tau, a sixth of that of the table's."""


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study, run here from nothing on two cores."""
    study = undisturbed(tmp_path_factory)
    assert len(study.tables()) == 3 and any(name.startswith("tables/") for name in study.tables())
    return study


def test_other_cores_shards_packs_and_order_give_identical_tables(made: Study, tmp_path: Path) -> None:
    study = copy_prepared(made, tmp_path / "checkout", features=False)
    study.settings = ["datasets={'summe': {'shard': 3}}", "engine={'runs': 1}"]
    last = [f"results/miniature/{name}" for name in ("features/summe/shard-0001.json", "runs/summe.et.cwl/metrics.csv")]
    for options in (("--", last[0]), ("--prioritize", last[1], *ONLY_TABLE)):
        run = study.here(*options, cores=1)
        assert run.end() == 0, run.said()
    for name, other in zip(last, ("features/summe/shard-0000.json", "runs/summe.et.baseline/metrics.csv"), strict=True):
        assert began(study, name) < began(study, other), "made in the usual order: nothing was tried"
    assert study.tables() == made.tables()


def began(study: Study, name: str) -> str:
    """When the job that made a file began."""
    records = [json.loads(path.read_text()) for path in study.results.rglob("*.record.json")]
    made = [record for record in records if any(output["path"].endswith(name) for output in record["outputs"])]
    return made[0]["started"]


def test_killed_in_the_middle_and_run_again_gives_identical_tables(made: Study, tmp_path: Path) -> None:
    study = copy_prepared(made, tmp_path / "checkout")
    run = study.here(*ONLY_TABLE)
    study.until("a trained replica", lambda: list(study.results.glob("runs/*/replicas/*.safetensors")), run)
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    half_written = [path for path in study.results.rglob("*.tmp*") if path.suffix in (".csv", ".json")]
    assert not [path for path in half_written if not path.name.startswith(".")]
    assert not (study.results / "tables").exists()
    again = study.start("run", "--cores", "2", options=ONLY_TABLE)
    assert again.end() == 0, again.said()
    assert study.tables() == made.tables()


@pytest.mark.parametrize("engine", [{"strategy": "vectorized"}, {"strategy": "vectorized", "places": 3}])
def test_stacks_of_any_size_agree_within_the_tolerance_and_in_every_verdict(
    made: Study, tmp_path: Path, engine: dict[str, str]
) -> None:
    study = copy_prepared(made, tmp_path / "checkout")
    study.settings = [f"engine={engine}"]
    run = study.here(*ONLY_TABLE)
    assert run.end() == 0, run.said()
    _agree(made, study, "settings differ")


def test_another_processor_agrees_within_the_tolerance_and_in_every_verdict(made: Study, tmp_path: Path) -> None:
    study = copy_prepared(made, tmp_path / "checkout", features=False)
    study.variables |= OLDER
    run = study.here(*ONLY_TABLE)
    assert run.end() == 0, run.said()
    _agree(made, study, "hardware differs: torch.cpu_capability")


def _agree(one: Study, other: Study, cause: str) -> None:
    """Other predictions, the same tables within the tolerance, the same verdicts, and the cause named.

    That holds as long as training has not made much of the rounding, as in the few epochs here; docs/clusters.md says
    how far it grows in more, and why verdicts have to know of it.
    """
    runs = sorted(path.parent.name for path in one.results.glob("runs/*/predictions.safetensors"))
    assert len(runs) == 2
    for run in runs:
        first, second = (
            arrays.load(study.results / "runs" / run / "predictions.safetensors") for study in (one, other)
        )
        differences = [abs(first[name] - second[name]).max() for name in first]
        assert 0 < max(differences) < 1e-4, "the same predictions: nothing was tried"
    first, second = (_values(study) for study in (one, other))
    assert first == pytest.approx(second, abs=TOLERANCE) and len(first) == 4
    said = subprocess.run(
        [*one.utopia, "diff", "--json", str(one.results), str(other.results)], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout + said.stderr
    report = json.loads(said.stdout)
    assert report["claims"] == 0 and len(report["cells"]) == 4
    assert all(cause in cell["cause"] for cell in report["cells"] if cell["verdict"] != "identical")


def _values(study: Study) -> dict[str, float]:
    with (study.results / "tables" / "drill.csv").open(newline="") as file:
        return {row["cell"]: float(row["value"]) for row in csv.DictReader(file)}
