"""What is said of a study from the files of its run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from utopia.cli import runlock
from utopia.cli.status import in_words, status
from utopia.errors import UtopiaError

KEYS = {
    "study", "state", "pid", "host", "started", "updated", "stopped_by", "total", "done", "remaining_seconds",
    "running", "failed", "throughput", "records", "tables", "figures", "planted", "again", "times", "next",
}  # fmt: skip


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).isoformat(timespec="seconds").replace("+00:00", "Z")


def write(folder: Path, **facts: object) -> None:
    """The file that the logger plugin writes."""
    job = {
        "rule": "train_run",
        "wildcards": {"run": "summe.et.cwl"},
        "log": "logs/train_run/a.log",
        "started": ago(minutes=2),
    }
    usual = {
        "schema": 1, "state": "running", "pid": os.getpid(), "host": socket.gethostname(), "started": ago(seconds=1),
        "updated": ago(seconds=0), "ended": None, "total": 9, "done": 4, "remaining_seconds": 90.0, "planned": {},
        "running": [job], "failed": [], "seconds_by_rule": {},
    }  # fmt: skip
    path = folder / "audit" / "run.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(usual | facts))


def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_study_that_was_never_run(tmp_path: Path) -> None:
    found = status(tmp_path / "none", "tiny")
    assert set(found) == KEYS
    assert (found["state"], found["total"], found["running"], found["failed"]) == ("never run", 0, [], [])
    assert found["next"] == "make results STUDY=tiny"
    assert in_words(found)[0] == "tiny: never run"


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("tables/a.csv", "tables/a.md", "figures/b.png", "runs/x/metrics.csv.record.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = status(tmp_path, "tiny")
    assert set(found) == KEYS
    assert (found["state"], found["done"], found["total"], found["remaining_seconds"]) == ("running", 4, 9, 90.0)
    assert (found["tables"], found["figures"], found["records"]) == (["a"], ["b"], 1)
    (job,) = found["running"]
    assert (job["rule"], job["wildcards"]) == ("train_run", {"run": "summe.et.cwl"})
    assert 115 <= job["seconds"] <= 130
    text = "\n".join(in_words(found))
    for words in ("4 of 9 jobs done", "1 min 30 s left", "train_run (run=summe.et.cwl)", f"process {os.getpid()} on "):
        assert words in text


def test_a_run_whose_process_is_gone_was_interrupted(tmp_path: Path) -> None:
    write(tmp_path, pid=dead())
    found = status(tmp_path, "tiny", runlock.Asked({"data": "/my data"}))
    assert found["state"] == "interrupted"
    assert found["running"] == []
    assert found["remaining_seconds"] is None
    assert found["next"].startswith("run the same command to go on: make results STUDY=tiny DATA='/my data'")
    assert found["stopped_by"] == "unknown"
    assert in_words(found)[0].startswith("tiny: interrupted: the run was killed, or its machine went down, 4 of 9")


def test_a_run_that_you_stopped_has_not_failed(tmp_path: Path) -> None:
    """What Ctrl-C ends leaves failure files of its own; the next step is the same command, not a look at logs."""
    log = tmp_path / "logs" / "train" / "a.log"
    log.parent.mkdir(parents=True)
    failure = {
        "schema": 1, "rule": "train_a", "status": "interrupted", "error": "KeyboardInterrupt", "expected": False,
        "what": "interrupted", "where": "", "why": "", "remedy": "", "message": "interrupted", "outputs": [],
        "command": "", "ended": ago(minutes=1), "wildcards": {}, "log": str(log),
    }  # fmt: skip
    Path(f"{log}.failed.json").write_text(json.dumps(failure))
    write(tmp_path, state="interrupted", stopped_by="you", pid=dead(), running=[])
    found = status(tmp_path, "tiny")
    assert (found["state"], found["stopped_by"], found["failed"]) == ("interrupted", "you", [])
    text = "\n".join(in_words(found))
    assert text.startswith("tiny: stopped by you, 4 of 9 jobs done")
    assert text.endswith("next: run the same command to go on: make results STUDY=tiny  (what is done stays done)")
    write(tmp_path, state="interrupted", stopped_by="SIGTERM", pid=dead(), running=[])
    assert in_words(status(tmp_path, "tiny"))[0].startswith("tiny: stopped by a signal (SIGTERM), 4 of 9")


def test_the_part_of_the_last_run_is_in_the_next_command(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    code = (
        "import sys\nfrom pathlib import Path\nfrom utopia.cli import runlock\n"
        "part = {'tables': ['a', 'b'], 'figures': [], 'only_datasets': ['summe']}\n"
        "runlock.take(Path(sys.argv[1]), '/a b', ['--configfile', '/my.yaml', '--cores', 'all'], part)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    write(folder, state="interrupted", stopped_by="you", pid=dead())
    command = "utopia run --study tiny --data '/a b' --configfile /my.yaml --tables a,b --datasets summe"
    assert command in status(folder, "tiny")["next"]
    runlock.remember(folder, runlock.Asked.of({"study": "tiny", "only_datasets": ["tvsum"], "repeats": 2}, ["/b.yaml"]))
    other = status(folder, "tiny")["next"]  # of what began after that, by Snakemake alone
    assert "utopia run --study tiny --configfile /b.yaml --datasets tvsum -- --config repeats=2 " in other


def test_a_process_younger_than_the_run_is_another_one(tmp_path: Path) -> None:
    write(tmp_path, started=ago(days=300))
    assert status(tmp_path, "tiny")["state"] == "interrupted"


def test_a_run_on_another_machine_is_taken_at_its_word_but_its_silence_is_said(tmp_path: Path) -> None:
    write(tmp_path, host="elsewhere", pid=1, updated=ago(minutes=10))
    found = status(tmp_path, "tiny")
    assert found["state"] == "running"
    assert "look on elsewhere whether process 1 is alive" in found["next"]


def test_a_run_that_holds_the_lock_but_has_not_written_yet(tmp_path: Path) -> None:
    write(tmp_path, state="done", pid=dead(), running=[])
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom utopia.cli import runlock\n"
        "runlock.take(Path(sys.argv[1]), None)\nprint(flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = status(tmp_path, "tiny")
        process.kill()
    assert (found["state"], found["pid"], found["total"]) == ("running", process.pid, 0)
    assert status(tmp_path, "tiny")["state"] == "done"


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_lock_that_is_a_link_is_not_written_through(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    link(tmp_path / runlock.NAME, elsewhere)
    with pytest.raises(UtopiaError, match="the lock is a link"):
        runlock.take(tmp_path, None)
    assert elsewhere.read_text() == "mine" and not runlock.is_held(tmp_path)


def test_a_finished_run(tmp_path: Path) -> None:
    write(tmp_path, state="done", pid=dead(), running=[], done=9)
    found = status(tmp_path, "tiny")
    assert (found["state"], found["next"]) == (
        "done",
        "utopia open --study tiny, or utopia compare --study tiny",
    )


def test_failures_are_grouped_and_the_remedy_comes_first(tmp_path: Path) -> None:
    failure = {
        "schema": 1, "rule": "extract_features", "status": "failed", "error": "InputError", "expected": True,
        "what": "the video is truncated", "where": "a.mp4", "why": "", "remedy": "copy it again", "message": "m",
        "outputs": [], "command": "", "ended": ago(minutes=1),
    }  # fmt: skip
    logs = tmp_path / "logs" / "extract_features"
    logs.mkdir(parents=True)
    for shard in ("0000", "0001"):
        facts = failure | {"wildcards": {"shard": shard}, "log": f"logs/extract_features/{shard}.log"}
        (logs / f"{shard}.log.failed.json").write_text(json.dumps(facts))
    seen = {"rule": "train_run", "wildcards": {"run": "x"}, "log": None, "status": "failed", "message": "killed"}
    again = seen | {"rule": "extract_features", "wildcards": {"shard": "0000"}, "message": "the same failure"}
    write(tmp_path, state="failed", pid=dead(), running=[], failed=[seen, again])
    found = status(tmp_path, "tiny")
    assert found["state"] == "failed"
    assert [cause["jobs"] for cause in found["failed"]] == [
        ["extract_features (shard=0000)", "extract_features (shard=0001)"],
        ["train_run (run=x)"],
    ]
    assert found["next"] == "copy it again; then: make results STUDY=tiny"
    text = "\n".join(in_words(found))
    assert "the video is truncated" in text
    assert "extract_features (shard=0000) and 1 more" in text


def test_data_of_the_last_run_are_in_the_next_command(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    code = (
        "import sys\nfrom pathlib import Path\nfrom utopia.cli import runlock\nrunlock.take(Path(sys.argv[1]), '/a b')"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    assert runlock.owner(folder) is not None
    write(folder, pid=dead())
    assert "DATA='/a b'" in status(folder, "tiny")["next"]


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "audit" / "run.json").write_text('{"state": ')
    with pytest.raises(UtopiaError, match=r"run\.json:1: not valid JSON"):
        status(tmp_path, "tiny")
