"""`utopia new loss`: what it writes is a loss that the contract accepts, a treatment and a row that the plan takes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from whole import Checkout, copy_checkout

TABLES = "workflow/resources/tables"


@pytest.fixture(scope="module")
def copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return copy_checkout(repository, tmp_path_factory.mktemp("new") / "checkout")


@pytest.fixture(scope="module")
def written(copy: Checkout) -> list[str]:
    """The files of the loss `soft_edges`, which the command wrote."""
    done = copy.utopia("new", "loss", "soft_edges", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["row"] == "ulda_table_3/et.soft_edges"
    return told["written"]


def test_it_writes_the_loss_the_treatment_and_the_row(copy: Checkout, written: list[str], repository: Path) -> None:
    assert written[:3] == ["workflow/lib/utopia/losses/soft_edges.py", "config.yaml", f"{TABLES}/ulda_table_3.yaml"]
    for name in written[1:3]:
        before, after = ((folder / name).read_text().splitlines() for folder in (repository, copy.folder))
        assert [line for line in before if line not in after] == [], "nothing else of the file is touched"
    config = yaml.safe_load((copy.folder / "config.yaml").read_text())
    assert config["treatments"]["soft_edges"] == {"loss": "soft_edges"}
    rows = yaml.safe_load((copy.folder / TABLES / "ulda_table_3.yaml").read_text())["rows"]
    new = next(row for row in rows if row["id"] == "et.soft_edges")
    above = rows[rows.index(new) - 1]
    assert (above["run"]["model"], above["group"]) == (new["run"]["model"], new["group"])
    assert new["run"] == {"model": "et", "treatment": "soft_edges"} and new["against"] == "et.baseline"


def test_what_is_generated_is_up_to_date_and_the_code_is_clean(copy: Checkout, written: list[str]) -> None:
    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=copy.folder, env=copy.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("utopia.config.schema", "--check")
    run("ruff", "check", written[0])
    run("ruff", "format", "--check", written[0])
    passed = re.search(r"(\d+) passed", run("pytest", "-q", "tests/contract/test_losses.py", "-k", "soft_edges"))
    assert passed and int(passed[1]) >= 3


def test_the_run_of_the_row_is_planned(copy: Checkout, written: list[str]) -> None:
    """In the copy's own program, by what `utopia plan` describes of the plan; no dry run of Snakemake is asked for."""
    code = (
        "import json; from utopia.cli.plan import describe; from utopia.config.load import load\n"
        "from utopia.plan.plan import Plan\n"
        "print(json.dumps(describe(Plan(load({'study': 'miniature', 'tables': ['ulda_table_3']})), [])['tables']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=copy.folder, env=copy.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = yaml.safe_load((copy.folder / TABLES / "ulda_table_3.yaml").read_text())["rows"]
    (table,) = json.loads(done.stdout)
    assert table["measured"] == 4 * sum("run" in row for row in rows), "valence and arousal, MSE and PCC"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Bad-Name"], "cannot be the name of a loss"),
        (["lambda"], "cannot be the name of a loss"),
        (["huge" * 20], "cannot be the name of a loss"),
        (["mse"], "there is a loss of this name already"),
        (["baseline"], "there is a treatment 'baseline' already"),
        (["fine", "--table", "ulda_table_33"], "did you mean 'ulda_table_3'?"),
        (["fine", "--table", "ulda_claims"], "none of its rows is a model without a treatment"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(copy: Checkout, words: list[str], said: str) -> None:
    before = {path: path.read_bytes() for path in (copy.folder / "config.yaml", *(copy.folder / TABLES).iterdir())}
    done = copy.utopia("new", "loss", *words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert not (copy.folder / "workflow/lib/utopia/losses/fine.py").exists()


@pytest.mark.parametrize("table", ["ulda_table_1", "ulda_table_2", "beyond_studyforrest", "eev_table_3"])
def test_a_row_can_go_into_other_tables(repository: Path, tmp_path: Path, table: str) -> None:
    from utopia.cli.new import with_row

    file = repository / TABLES / f"{table}.yaml"
    if table == "eev_table_3":
        from utopia.errors import ConfigError

        with pytest.raises(ConfigError, match="none of its rows is a model without a treatment"):
            with_row(file, "mine")
        return
    text, row = with_row(file, "mine")
    rows, before = yaml.safe_load(text)["rows"], yaml.safe_load(file.read_text())["rows"]
    assert [each for each in rows if each["id"] != row] == before and len(rows) == len(before) + 1
