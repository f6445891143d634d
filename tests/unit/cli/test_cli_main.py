"""The command as a program: start-up, exit codes, messages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import forked
import pytest

from utopia.cli import main as cli
from utopia.errors import InputError

UTOPIA = str(Path(sys.executable).parent / "utopia")


def utopia(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([UTOPIA, *words], capture_output=True, text=True, cwd=cwd, timeout=120)


def test_help_starts_fast() -> None:
    """Counted in the processor's time, which a busy machine does not stretch."""
    seconds = []
    for _ in range(5):
        start = os.times()
        done = utopia("--help")
        end = os.times()
        seconds.append(end.children_user + end.children_system - start.children_user - start.children_system)
        assert done.returncode == 0
    assert min(seconds) < 0.3
    for name in cli.COMMANDS:
        assert f"    {name} " in done.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom utopia.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'pydantic', 'snakemake', 'numpy', 'yaml', 'av'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_explains_itself(command: str) -> None:
    done = forked.utopia(command, "--help")
    assert done.returncode == 0
    assert ("--study NAME" in done.stdout) == (command not in ("diff", "new"))  # two folders; no study
    assert "--debug" in done.stdout
    assert ("--json" in done.stdout) == (command not in ("run", "resume"))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["unheard-of"],
        ["plan", "--unheard-of"],
        ["plan", "--", "x"],
        ["run", "--cores", "0"],
        ["compare", "--json", "--markdown"],
    ],
)
def test_wrong_use_exits_with_2(words: list[str]) -> None:
    assert forked.utopia(*words).returncode == 2


def test_a_configuration_error_exits_with_2_and_without_a_traceback() -> None:
    done = utopia("plan", "--study", "papper")
    assert done.returncode == 2
    assert "did you mean 'paper'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


ASKED = {  # of each command that reads a configuration: what else it must be given
    "explain": ["x"], "why": ["x"], "touched": ["--host", "x"], "sign": ["--check"], "fetch": ["--dry-run"],
}  # fmt: skip


@pytest.mark.parametrize("command", sorted(set(cli.COMMANDS) - {"diff", "new"}))  # these read no configuration
def test_a_fault_of_the_configuration_ends_every_command_alike(command: str, tmp_path: Path) -> None:
    """The same code, the same message with every fault, and before any other work, whatever is there of the study."""
    settings = tmp_path / "bad.yaml"
    settings.write_text("repeets: 3\nengine: {runs: 0}\nonly_datasets: [summmme]\ntables: [ulda_tabel_1]\n")
    begun = os.times()
    done = forked.utopia(command, "--configfile", settings, *ASKED.get(command, []))
    ended = os.times()
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert "the configuration has 4 faults" in done.stderr
    for place, words in (
        ("bad.yaml:1", "repeats"), ("bad.yaml:2", "runs"), ("bad.yaml:3", "'summe'"), ("bad.yaml:4", "'ulda_table_1'"),
    ):  # fmt: skip
        assert any(place in line and words in line for line in done.stderr.splitlines()), place
    spent = ended.children_user + ended.children_system - begun.children_user - begun.children_system
    assert spent < 1, "no Snakemake, no records, no trials of the machine"


def test_debug_shows_the_traceback() -> None:
    done = forked.utopia("plan", "--study", "papper", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "ConfigError" in done.stderr


def test_a_data_folder_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    done = forked.utopia("run", "--study", "paper", "--data", "no such folder", cwd=tmp_path)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())  # a long path is cut in its middle
    assert re.search(r"data: found '/.*/no such folder': there is no such folder", said), said


def test_commands_work_from_any_folder(tmp_path: Path) -> None:
    done = utopia("status", "--json", cwd=tmp_path)
    assert done.returncode in (0, 1)
    assert json.loads(done.stdout)["study"] == "miniature"
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_is_meant_from_where_the_command_is_given(tmp_path: Path) -> None:
    (tmp_path / "it's mine").mkdir()
    done = forked.utopia("run", "--study", "paper", "--data", "it's mine", cwd=tmp_path)
    assert done.returncode == 1 and "tables of the papers would be empty" in done.stderr
    assert "the data folder has no " in done.stderr, done.stderr


def test_errors_of_ours_give_their_exit_code(monkeypatch, capsys) -> None:
    class Broken:
        @staticmethod
        def configure(parser) -> None:
            pass

        @staticmethod
        def run(chosen) -> int:
            raise InputError("it is damaged", where="a.mp4")

    monkeypatch.setattr(cli, "module_of", lambda command: Broken)
    assert cli.main(["plan"]) == 1
    assert capsys.readouterr().err == "a.mp4: it is damaged\n"
    with pytest.raises(InputError):
        cli.main(["plan", "--debug"])


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = [UTOPIA, "fetch", "--dry-run", "--json", "--data", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert not re.search("traceback|broken ?pipe|foresaw", said, re.IGNORECASE), said
