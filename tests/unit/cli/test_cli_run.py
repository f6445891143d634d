"""A run through the real Snakemake: settings, exit codes, two at once, kills and interrupts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import psutil
import pytest

from utopia.cli import runlock
from utopia.errors import UtopiaError


def wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def test_a_folder_with_blanks_and_quotes_reaches_the_jobs(tiny) -> None:
    data = '/some where/it\'s "here": [x]'
    done = tiny.run(data=data)
    assert done.returncode == 0, done.stderr
    assert (tiny.results / "end.txt").read_text() == repr(data)
    assert not runlock.is_held(tiny.results), "the lock ends with the run"


def test_what_follows_is_passed_on_and_the_exit_code_comes_back(tiny) -> None:
    done = tiny.run("--dry-run")
    assert done.returncode == 0, done.stderr
    assert not tiny.results.exists(), "a dry run changes nothing"
    done = tiny.run("results/tiny/other.txt", "--config", "fail=yes", data="x")
    assert done.returncode == 1
    assert (tiny.results / "first.txt").read_text() == "'x'", "our own settings stand beside those passed on"
    assert not (tiny.results / "other.txt").exists()
    assert tiny.run("results/tiny/other.txt", data="x").returncode == 0
    assert (tiny.results / "other.txt").exists()
    assert not (tiny.results / "end.txt").exists(), "only the target that was passed on"


def test_two_at_once_then_a_kill_then_another_run(tiny) -> None:
    first = tiny.start("--config", "wait=60")
    wait_for(lambda: runlock.is_held(tiny.results) and list((tiny.folder / ".snakemake" / "locks").glob("*")))
    second = tiny.run()
    assert second.returncode == 1
    assert f"a run of this study is going on (process {first.pid} on " in second.stderr
    assert "utopia status" in second.stderr

    owner = runlock.owner(tiny.results)
    assert owner is not None
    assert owner.pid == first.pid
    wait_for(lambda: len(processes_of(owner.run)) > 1)  # the job itself is at work
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not runlock.is_held(tiny.results), "the lock falls with the process"
    assert processes_of(owner.run), "a killed Snakemake leaves its job at work"
    leftover = tiny.results / f".end.{first.pid}@{os.uname().nodename}.abc.tmp.txt"
    leftover.write_text("half")

    third = tiny.run("--rerun-incomplete", data="x")
    assert third.returncode == 0, third.stdout + third.stderr
    assert "ended the jobs of a killed run that were still at work" in third.stderr
    assert "removed the lock of a killed run" in third.stderr
    assert processes_of(owner.run) == []
    assert not leftover.exists()
    assert (tiny.results / "end.txt").read_text() == "'x'"


def processes_of(run: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(runlock.VARIABLE) == run:
                found.append(process.pid)
    return found


def job_at_work(process: subprocess.Popen[str]) -> bool:
    """Whether the job's shell command runs."""
    with contextlib.suppress(psutil.Error):
        return any(child.name() == "sleep" for child in psutil.Process(process.pid).children(recursive=True))
    return False


@pytest.mark.parametrize("to_group", [True, False], ids=["Ctrl-C in a terminal", "kill -INT"])
def test_an_interrupt_ends_the_run_cleanly(tiny, to_group: bool) -> None:
    process = tiny.start("--config", "wait=60" if to_group else "wait=8")
    wait_for(lambda: job_at_work(process) or process.poll() is not None)
    time.sleep(
        0.5
    )  # well within the job: while Snakemake starts or ends one, an interrupt makes it speak in tracebacks
    if to_group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0, said
    assert "Traceback" not in said
    assert not runlock.is_held(tiny.results)
    assert not list((tiny.folder / ".snakemake" / "locks").glob("*")), "Snakemake has taken its lock off"


def test_taking_the_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom utopia.cli import runlock\n"
        "print(runlock.take(Path(sys.argv[1]), 'data'), flush=True)\ntime.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "study")]
    assert not runlock.is_held(tmp_path / "study")
    assert runlock.owner(tmp_path / "study") is None
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "None\n"
        assert runlock.is_held(tmp_path / "study")
        with pytest.raises(UtopiaError, match=f"process {process.pid} on "):
            runlock.take(tmp_path / "study", None)
        process.kill()
    assert not runlock.is_held(tmp_path / "study")
    owner = runlock.owner(tmp_path / "study")
    assert owner is not None
    assert (owner.pid, owner.data) == (process.pid, "data")
    assert json.loads((tmp_path / "study" / runlock.NAME).read_text())["run"] == owner.run


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UtopiaError, match="cannot write"):
        runlock.take(tmp_path / "results" / "study", None)


def test_another_study_at_work_is_seen(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    assert not runlock.others_at_work(tmp_path, mine)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom utopia.cli import runlock\n"
        "runlock.take(Path(sys.argv[1]), None)\nprint(flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(other)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert runlock.others_at_work(tmp_path, mine)
        process.kill()


def test_a_plain_snakemake_at_work_is_seen(tiny) -> None:
    snakemake = Path(sys.executable).parent / "snakemake"
    words = [str(snakemake), "--cores", "1", "--config", "wait=60", "--quiet"]
    with subprocess.Popen(words, cwd=tiny.folder, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        wait_for(lambda: runlock.others_at_work(tiny.folder, tiny.results))
        assert not runlock.others_at_work(tiny.folder.parent, tiny.results), "it works in another folder"
        wait_for(lambda: list((tiny.folder / ".snakemake" / "locks").glob("*")))
        os.killpg(process.pid, signal.SIGKILL)
    assert not runlock.others_at_work(tiny.folder, tiny.results)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch, capsys) -> None:
    """NFS without lockd, Lustre without `-o flock`: a live run is told by its process, a dead one is no obstacle."""
    import errno

    from utopia import files

    def no_lock(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", no_lock)
    monkeypatch.setenv(runlock.VARIABLE, "")
    assert runlock.take(tmp_path, None) is None
    assert "no locks" in capsys.readouterr().err
    assert not runlock.is_held(tmp_path), "it is this process's own"

    environment = {**os.environ, runlock.VARIABLE: "the other"}
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment)
    try:
        owner = runlock.Owner("the other", other.pid, runlock.socket.gethostname(), "2026-01-01T00:00:00Z")
        (tmp_path / runlock.NAME).write_text(json.dumps(runlock.asdict(owner)))
        wait_for(lambda: runlock.is_held(tmp_path))
        with pytest.raises(UtopiaError, match="a run of this study is going on"):
            runlock.take(tmp_path, None)
    finally:
        other.kill()
        other.wait()
    assert not runlock.is_held(tmp_path)

    elsewhere = runlock.Owner("far", 1, "another-host", "2026-01-01T00:00:00Z")
    (tmp_path / runlock.NAME).write_text(json.dumps(runlock.asdict(elsewhere)))
    assert not runlock.is_held(tmp_path), "it has left no sign of life"
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "run.json").write_text("{}")
    assert runlock.is_held(tmp_path)
    os.utime(tmp_path / "audit" / "run.json", (0, 0))
    assert not runlock.is_held(tmp_path)


def test_a_study_whose_tables_would_all_be_empty_is_refused(capsys) -> None:
    from utopia.cli.run import refuse_empty
    from utopia.config.load import load
    from utopia.plan.plan import Plan

    with pytest.raises(UtopiaError) as refused:
        refuse_empty(Plan(load({"study": "paper"})), insist=False)
    said = str(refused.value)
    assert "all 14 tables of the papers would be empty: there are no data for eev, liris, pmemo, summe, tvsum" in said
    assert said.count("no data folder was given") == 1
    assert "DATA=<folder>" in said and "--allow-empty" in said and "STUDY=open" in said
    refuse_empty(Plan(load({"study": "paper"})), insist=True)
    assert "14 of 14 tables of the papers will be empty" in capsys.readouterr().err
    for study in ("miniature", "open"):
        refuse_empty(Plan(load({"study": study})), insist=False)
    assert capsys.readouterr().err == ""


def test_the_data_of_one_table_are_enough_to_run(shared_data: Path, tmp_path: Path, capsys) -> None:
    from utopia.cli.run import refuse_empty
    from utopia.config.load import load
    from utopia.plan.plan import Plan

    (tmp_path / "summe").symlink_to(shared_data / "summe")
    refuse_empty(Plan(load({"study": "paper", "data": str(tmp_path)})), insist=False)
    assert "to make only what has data: --datasets studyforrest,summe" in capsys.readouterr().err
    refuse_empty(Plan(load({"study": "paper", "data": str(tmp_path), "only_datasets": ["summe"]})), insist=False)
    assert capsys.readouterr().err == ""


def test_labels_without_features_are_refused_with_what_is_missing_of_them(
    shared_data: Path, tmp_path: Path, capsys
) -> None:
    from utopia.cli.run import refuse_empty
    from utopia.config.load import load
    from utopia.plan.plan import Plan

    (tmp_path / "pmemo").symlink_to(shared_data / "pmemo")
    plan = Plan(load({"study": "paper", "data": str(tmp_path), "only_datasets": ["pmemo"]}))
    with pytest.raises(UtopiaError) as refused:
        refuse_empty(plan, insist=False)
    said = str(refused.value)
    assert "the only table of the papers would be empty: nothing can be trained on what is there" in said
    assert "vggish: none of the songs" in said and f"put what is missing below {tmp_path}" in said
    assert "name your data folder" not in said, "it was named"
    refuse_empty(plan, insist=True)
    said = capsys.readouterr().err
    assert said == "1 of 1 table of the papers will be empty (`utopia plan` says why)\n", (
        "no other choice has more data"
    )


def test_the_program_refuses_and_a_dry_run_does_not(tmp_path: Path) -> None:
    utopia = str(Path(sys.executable).parent / "utopia")
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"results: {tmp_path / 'results'}\n")
    words = [utopia, "run", "--study", "paper", "--configfile", str(settings), "--cores", "1"]
    done = forked.utopia(*words[1:])
    assert done.returncode == 1 and "tables of the papers would be empty" in done.stderr
    assert not (tmp_path / "results").exists()
    words += ["--dry-run", "--tables", "Table 2", "--datasets", "studyforrest,summe"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines() if "render_table" in line] == [["render_table", "1"]]
