"""Workers of a scheduler that is there already (`--dask-scheduler-file`): only with keys; a failure is one job's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from snakemake_interface_common.exceptions import WorkflowError

pytest.importorskip("distributed")
from snakemake_executor_plugin_dask.farm import Farm

SCRIPT = """\
import os
from utopia.errors import InputError
from utopia.provenance.job import record
with record(snakemake):
    if snakemake.params.fails:
        raise InputError("no such video", where="a.mp4")
    with open(snakemake.output[0], "w") as file:
        file.write(f"{os.getpid()} {snakemake.input.manifest}")
"""


def started(folder: Path, keys: list[str], words: list[str]) -> subprocess.Popen[str]:
    """A program of Dask."""
    command = [sys.executable, "-m", "dask", *words, *keys, "--no-dashboard"]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, text=True)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[list[str]]:
    """The options that name a key and its certificate; the client has them from its configuration."""
    import dask
    from distributed import Security

    made = Security.temporary()
    for name in ("tls_ca_file", "tls_scheduler_cert", "tls_scheduler_key"):
        path = tmp_path / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_text(getattr(made, name), encoding="utf-8")
    ca, cert, key = (str(tmp_path / f"tls_{name}.pem") for name in ("ca_file", "scheduler_cert", "scheduler_key"))
    tls = "distributed.comm.tls"
    with dask.config.set({f"{tls}.ca-file": ca, f"{tls}.client.cert": cert, f"{tls}.client.key": key}):
        yield ["--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key]


def scheduler(folder: Path, keys: list[str]) -> tuple[subprocess.Popen[str], Path]:
    """A scheduler on loopback, and its file."""
    file = folder / "scheduler.json"
    words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
    process = started(folder, keys, words)
    while not file.is_file() and process.poll() is None:
        time.sleep(0.05)
    return process, file


def asked(folder: Path, number: int, fails: bool = False) -> dict[str, Any]:
    """A job of the script above."""
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    return {
        "script": str(folder / "script.py"),
        "folder": str(folder),
        "rule": "extract_features",
        "wildcards": {"shard": str(number)},
        "params": {"fails": fails},
        "input": {"manifest": "some.json", "weights": ["a", "b"]},
        "output": {"": [f"{number}.txt"]},
        "log": [f"{number}.log"],
        "threads": 2,
        "resources": {"attempt": 1},
        "config": {"study": "miniature"},
    }


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended after the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.terminate()
        process.wait(20)


def test_workers_of_another_scheduler_take_jobs_one_after_another_and_outlive_one_that_fails(
    tmp_path: Path, keys: list[str], ended: list[subprocess.Popen[str]]
) -> None:
    process, file = scheduler(tmp_path, keys)
    ended.append(process)
    words = ["worker", "--scheduler-file", str(file), "--nthreads", "1", "--host", "127.0.0.1", "--no-nanny"]
    ended.append(started(tmp_path, keys, words))
    farm = Farm(1, str(file))
    statuses = [farm.run(asked(tmp_path, number, fails=number == 1)) for number in range(3)]
    farm.close()
    assert statuses == [0, 1, 0]
    assert ended[1].poll() is None, "workers that were there stay"
    text = f"{ended[1].pid} some.json"
    assert [(tmp_path / f"{number}.txt").read_text() for number in (0, 2)] == [text, text]
    assert not (tmp_path / "1.txt").exists()
    assert json.loads((tmp_path / "1.log.failed.json").read_text())["what"] == "no such video"
    assert json.loads((tmp_path / "0.txt.record.json").read_text())["roles"]["inputs"] == {
        "manifest": "some.json",
        "weights": ["a", "b"],
    }


@pytest.mark.parametrize(("count", "workers"), [(0, 2), (1, 1)])
def test_as_many_workers_as_have_the_threads_of_a_job_each_unless_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, workers: int
) -> None:
    monkeypatch.chdir(tmp_path)  # where its scratch folder lies
    job = asked(tmp_path, 0)
    count_them = "str(len(get_client().scheduler_info()['workers']))"
    code = f"from distributed import get_client\nopen('n', 'w').write({count_them})\n"
    (tmp_path / "script.py").write_text(code, encoding="utf-8")
    farm = Farm(count, cores=5)
    try:
        assert farm.run(job) == 0
    finally:
        farm.close()
    assert (tmp_path / "n").read_text() == str(workers)


def test_a_scheduler_without_keys_is_refused(tmp_path: Path, ended: list[subprocess.Popen[str]]) -> None:
    process, file = scheduler(tmp_path, [])
    ended.append(process)
    with pytest.raises(WorkflowError, match="runs it as you"):
        Farm(1, str(file)).run(asked(tmp_path, 0))


def test_without_dask_the_profile_names_the_command_that_installs_it(repository: Path, tmp_path: Path) -> None:
    blocked = (
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'distributed' else find(name, *more)\n"
        "from snakemake_executor_plugin_dask import require\n"
        "require()\n"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, env={**os.environ})
    assert "needs distributed" in done.stderr and "pip install" in done.stderr
