"""The record of a job, on real jobs: in this process, in processes of their own, and under Snakemake."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from utopia import fingerprint
from utopia.errors import InputError
from utopia.provenance.failures import HEADER_END, SHOWN_BY_LOGGER
from utopia.provenance.job import record


@pytest.fixture
def job_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes objects like Snakemake's, in a working directory of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(SHOWN_BY_LOGGER, raising=False)

    def make(**changes: Any) -> SimpleNamespace:
        facts: dict[str, Any] = {
            "rule": "build_labels",
            "wildcards": {"dataset": "summe"},
            "input": [],
            "output": ["out/labels.bin"],
            "log": ["logs/build_labels/summe.log"],
            "params": {},
            "config": {"study": "mini"},
            "threads": 1,
            "resources": {},
        }
        return SimpleNamespace(**{**facts, **changes})

    return make


def write(path: str, text: str = "x") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def read(path: str) -> Any:
    return json.loads(Path(path).read_text())


def test_a_success_is_recorded(job_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET_TOKEN", "do-not-tell")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write("in/raw.txt", "raw")
    write("in/folder/b.txt", "bb")
    write("in/folder/a.txt", "a")
    outside = tmp_path.parent / f"{tmp_path.name}-data"
    write(str(outside / "video.mp4"), "video")
    params = {"settings": {"bins": 5, "path": Path("x/y"), "nan": float("nan"), "set": {2, 1}}, "code": "f" * 64}
    job_description = job_of(
        input=["in/raw.txt", "in/folder"], params=params, config={"study": "mini", "data": str(outside)}
    )
    with record(job_description) as job:
        job.used(outside / "video.mp4", "in/raw.txt", "in/folder/a.txt")
        write("out/labels.bin", "labels")
        write("store/object", "more")
        job.made("store/object")
        job.note("weights", {"source": "random", "seed": 3})
    facts = read("out/labels.bin.record.json")
    sha = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("raw", "a", "bb", "video", "labels", "more")}
    assert facts["schema"] == 1
    assert facts["status"] == "done"
    assert [entry["path"] for entry in facts["inputs"]] == ["in/raw.txt", "in/folder", "<data>/video.mp4"]
    assert facts["inputs"][0] == {"path": "in/raw.txt", "sha256": sha["raw"], "bytes": 3}
    assert facts["inputs"][1]["files"] == [
        {"path": "in/folder/a.txt", "sha256": sha["a"], "bytes": 1},
        {"path": "in/folder/b.txt", "sha256": sha["bb"], "bytes": 2},
    ]
    assert facts["inputs"][1]["bytes"] == 3
    assert facts["inputs"][2]["sha256"] == sha["video"]
    assert facts["outputs"] == [
        {"path": "out/labels.bin", "sha256": sha["labels"], "bytes": 6},
        {"path": "store/object", "sha256": sha["more"], "bytes": 4},
    ]
    assert facts["params"]["settings"] == {"bins": 5, "path": "x/y", "nan": "nan", "set": [1, 2]}
    assert facts["notes"] == {"weights": {"source": "random", "seed": 3}}
    assert facts["command"].endswith("--force --config study=mini 'data=<data>' -- out/labels.bin")
    assert facts["environment"]["variables"]["OMP_NUM_THREADS"] == "1"
    assert facts["environment"]["packages"]["numpy"]
    assert facts["cpu"]["cores"] >= 1
    assert facts["peak_memory_bytes"] > 1 << 20
    assert facts["started"] <= facts["ended"]
    text = Path("out/labels.bin.record.json").read_text()
    assert "do-not-tell" not in text
    assert str(tmp_path) not in text
    assert str(Path.home()) + "/" not in text


def test_a_folder_output_hides_snakemakes_own_file(job_of: Any) -> None:
    with record(job_of(output=["out/raw"])) as job:
        write("out/raw/v/a.txt", "a")
        write("out/raw/.snakemake_timestamp")
        job.made("out/raw/v/a.txt")
    (entry,) = read("out/raw.record.json")["outputs"]
    assert [each["path"] for each in entry["files"]] == ["out/raw/v/a.txt"]


def test_everything_that_is_said_goes_to_the_log(job_of: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with record(job_of()):
        print("python")
        os.system("echo from a child; echo error of a child >&2")
        os.write(2, b"from a C library\n")
        logging.getLogger("some.library").info("by logging")
        logging.getLogger("some.library").debug("too much")
        write("out/labels.bin")
    print("afterwards")
    out, err = capfd.readouterr()
    assert out == "afterwards\n"
    assert err == ""
    log = Path("logs/build_labels/summe.log").read_text()
    head, said = log.split(HEADER_END)
    assert head.startswith("build_labels (dataset=summe)\n")
    assert "snakemake --cores 1 --force --config study=mini -- out/labels.bin" in head
    for words in ("python", "from a child", "error of a child", "from a C library", "some.library: by logging"):
        assert words in said
    assert "too much" not in said


def test_an_expected_error_is_told_without_a_traceback(job_of: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_, record(job_of()):
        write("out/labels.bin", "half")
        raise InputError("truncated", where="a.mp4", why="no frames", remedy="fetch it again")
    assert exit_.value.code == 1
    assert not Path("out/labels.bin").exists()
    assert not Path("out/labels.bin.record.json").exists()
    err = capfd.readouterr().err
    assert "a.mp4: truncated" in err
    assert "fetch it again" in err
    assert "Traceback" not in err
    log = Path("logs/build_labels/summe.log").read_text()
    assert "Traceback" in log
    assert log.rstrip().endswith("what to do:     fetch it again")
    failed = read("logs/build_labels/summe.log.failed.json")
    assert failed["status"] == "failed"
    assert failed["error"] == "InputError"
    assert (failed["what"], failed["where"], failed["remedy"]) == ("truncated", "a.mp4", "fetch it again")
    assert failed["wildcards"] == {"dataset": "summe"}
    with record(job_of()):
        write("out/labels.bin", "whole")
    assert not Path("logs/build_labels/summe.log.failed.json").exists()


def test_an_unexpected_error_is_told_in_one_line(job_of: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), record(job_of()):
        raise ZeroDivisionError("by zero\nsecond line")
    err = capfd.readouterr().err
    assert err.strip() == (
        "build_labels (dataset=summe): unexpected ZeroDivisionError: by zero (see logs/build_labels/summe.log)"
    )
    assert read("logs/build_labels/summe.log.failed.json")["expected"] is False


def test_the_terminal_is_left_alone_under_the_logger_plugin(
    job_of: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SHOWN_BY_LOGGER, "1")
    with pytest.raises(SystemExit), record(job_of()):
        raise InputError("truncated")
    assert capfd.readouterr().err == ""


def test_an_output_that_is_not_made_is_an_error(job_of: Any) -> None:
    with pytest.raises(SystemExit), record(job_of(output=["out/labels.bin", "out/second.bin"])):
        write("out/labels.bin")
    failed = read("logs/build_labels/summe.log.failed.json")
    assert failed["what"] == "the job ended without making out/second.bin"
    assert not Path("out/labels.bin").exists()


def test_a_failure_keeps_an_older_output_that_it_has_not_touched(job_of: Any) -> None:
    with record(job_of()):
        write("out/labels.bin", "good")
    with pytest.raises(SystemExit), record(job_of()):
        raise InputError("before it wrote")
    assert Path("out/labels.bin").read_text() == "good"
    assert Path("out/labels.bin.record.json").exists()


def test_a_record_goes_with_its_output(job_of: Any) -> None:
    with record(job_of()):
        write("out/labels.bin", "good")
    Path("out/labels.bin").unlink()
    with pytest.raises(SystemExit), record(job_of()):
        raise InputError("again")
    assert not Path("out/labels.bin.record.json").exists()


def test_an_input_that_changes_meanwhile_is_marked(job_of: Any) -> None:
    write("in.txt", "before")
    write("calm.txt", "calm")
    with record(job_of(input=["in.txt", "calm.txt"])):
        write("in.txt", "changed")
        write("out/labels.bin")
    changed, calm = read("out/labels.bin.record.json")["inputs"]
    assert changed["changed_during_job"] is True
    assert "changed_during_job" not in calm
    assert "the input in.txt changed" in Path("logs/build_labels/summe.log").read_text()


def test_the_code_of_a_job_is_recorded(job_of: Any) -> None:
    code = fingerprint.code("utopia.seeds")
    with record(job_of(params={"code": code})):
        write("out/labels.bin")
    found = read("out/labels.bin.record.json")["code"]
    assert found["fingerprint"] == found["planned"] == code["fingerprint"]
    assert found["modules"] == fingerprint.closure("utopia.seeds")
    with record(job_of(params={"code": {**code, "fingerprint": "0" * 64}})):
        write("out/labels.bin")
    assert "edited after this job was planned" in Path("logs/build_labels/summe.log").read_text()


def test_without_a_log_the_failure_lies_beside_the_output(job_of: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), record(job_of(log=[])):
        print("seen")
        raise InputError("no")
    assert read("out/labels.bin.failed.json")["log"] is None
    assert "seen" in capfd.readouterr().out


def test_a_log_that_cannot_be_written_is_an_error_with_a_remedy(job_of: Any, capfd: pytest.CaptureFixture[str]) -> None:
    write("logs", "a file where a folder should be")
    with pytest.raises(SystemExit), record(job_of()):
        raise AssertionError("the job must not run")
    assert "cannot write the log" in capfd.readouterr().err


SCRIPT = """
import os, sys, time, json, signal, resource
from pathlib import Path
from types import SimpleNamespace
from utopia.provenance.job import record
job = SimpleNamespace(rule="r", wildcards={}, input=[], output=["out.bin"], log=["r.log"], params=PARAMS, config={})
with record(job) as job:
    BODY
"""


def run(tmp_path: Path, body: str, params: dict[str, Any] | None = None) -> subprocess.Popen[str]:
    text = SCRIPT.replace("    BODY", textwrap.indent(textwrap.dedent(body), "    "))
    text = text.replace("PARAMS", repr(params or {}))
    environment = {name: value for name, value in os.environ.items() if name != SHOWN_BY_LOGGER}
    return subprocess.Popen(
        [sys.executable, "-c", text], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_job_says_so(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = run(
        tmp_path,
        """
        Path("out.bin").write_text("half")
        Path("ready").touch()
        time.sleep(60)
        """,
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert "interrupted" in err
    assert not (tmp_path / "out.bin").exists()
    assert read(str(tmp_path / "r.log.failed.json"))["status"] == "interrupted"


def test_a_write_that_fails_leaves_nothing_half_written(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        with open("out.bin", "wb") as file:
            for _ in range(10):
                file.write(b"x" * 10_000)
                file.flush()
        """,
    )
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert "unexpected OSError" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.log", "r.log.failed.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_under_the_log_does_not_hide_the_failure(tmp_path: Path) -> None:
    (tmp_path / "r.log").symlink_to("/dev/full")
    process = run(tmp_path, "print('words')")
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert "No space left on device" in err
    assert "free disk space" in read(str(tmp_path / "r.log.failed.json"))["remedy"]


def test_a_module_that_the_fingerprint_misses_is_found_out(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        import importlib
        importlib.import_module("utopia.seeds")
        Path("out.bin").write_text("x")
        """,
        params={"code": fingerprint.code("utopia.errors")},
    )
    assert process.wait(timeout=30) == 0, process.communicate()[1]
    assert read(str(tmp_path / "out.bin.record.json"))["code"]["undeclared"] == ["utopia.seeds"]
    assert "not covered by the code fingerprint: utopia.seeds" in (tmp_path / "r.log").read_text()


def test_without_named_roots_the_loaded_modules_are_recorded(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        import utopia.seeds
        Path("out.bin").write_text("x")
        """,
        params={"code": "f" * 64},
    )
    assert process.wait(timeout=30) == 0, process.communicate()[1]
    code = read(str(tmp_path / "out.bin.record.json"))["code"]
    assert code["planned"] == "f" * 64
    assert code["roots"] == ["utopia.seeds"]
    assert code["modules"] == fingerprint.closure("utopia.seeds")


def test_recording_does_not_import_torch(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        Path("out.bin").write_text("x")
        heavy = [name for name in ("torch", "numpy", "pydantic", "snakemake") if name in sys.modules]
        assert not heavy, heavy
        """,
    )
    assert process.wait(timeout=30) == 0, process.communicate()[1]
    assert read(str(tmp_path / "out.bin.record.json"))["determinism"] is None


SNAKEFILE = """
from utopia import fingerprint

rule all:
    input:
        expand("results/mini/labels/{dataset}.txt", dataset=["good", "bad"]),

rule build_labels:
    input:
        manifest="manifest.json",
        features=["f1.txt", "f2.txt"],
    output:
        labels="results/mini/labels/{dataset}.txt",
    params:
        code=fingerprint.code("utopia.errors"),
        settings={"bins": 5, "nested": {"sigma": 0.5}},
    log:
        "results/mini/logs/build_labels/{dataset}.log",
    threads: 1
    script:
        "build_labels.py"
"""
LABELS = """
from pathlib import Path

from utopia.errors import InputError
from utopia.provenance.job import record

with record(snakemake) as job:
    print("building", snakemake.params.settings["bins"])
    if snakemake.wildcards.dataset == "bad":
        Path(snakemake.output.labels).write_text("half")
        raise InputError("damaged", where="bad.mp4", remedy="fetch it again")
    Path(snakemake.output.labels).write_text("labels")
"""


def test_under_snakemake(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "build_labels.py").write_text(LABELS)
    for name in ("manifest.json", "f1.txt", "f2.txt"):
        (tmp_path / name).write_text(name)
    environment = {name: value for name, value in os.environ.items() if name != SHOWN_BY_LOGGER}
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--keep-going", "--config", "study=mini"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "bad.mp4: damaged" in done.stderr
    labels = tmp_path / "results" / "mini" / "labels"
    assert sorted(path.name for path in labels.iterdir()) == ["good.txt", "good.txt.record.json"]
    facts = read(str(labels / "good.txt.record.json"))
    assert facts["rule"] == "build_labels"
    assert facts["wildcards"] == {"dataset": "good"}
    assert [entry["path"] for entry in facts["inputs"]] == ["manifest.json", "f1.txt", "f2.txt"]
    assert facts["params"]["settings"] == {"bins": 5, "nested": {"sigma": 0.5}}
    assert facts["code"]["fingerprint"] == facts["code"]["planned"]
    assert facts["code"]["undeclared"] == []
    assert facts["log"] == "results/mini/logs/build_labels/good.log"
    # The command makes just this output again.
    before = (labels / "good.txt").stat().st_mtime_ns
    command = f"{sys.executable} -m {facts['command']}"
    again = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=False)  # noqa: S602
    assert again.returncode == 0, again.stderr.decode()
    assert (labels / "good.txt").stat().st_mtime_ns > before
