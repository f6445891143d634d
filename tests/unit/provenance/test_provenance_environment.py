"""The facts about software and hardware, against independent ways to learn them."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from utopia.provenance import environment


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    return subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ("a.py", "b c.py", "gone.py"):
        (folder / name).write_text(f"# {name}\n" * 20)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    monkeypatch.setattr(environment, "checkout", lambda: folder)
    return folder


def facts() -> dict[str, object] | None:
    return environment.git.__wrapped__()


def test_git_names_the_commit_and_what_differs_from_it(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD").strip()
    assert facts() == {"commit": commit, "dirty": False, "changed": []}
    (repository / "results" / "reference").mkdir(parents=True)
    (repository / "results" / "reference" / "kept.csv").write_text("made by the code, and no part of it")
    assert facts() == {"commit": commit, "dirty": False, "changed": []}
    (repository / "b c.py").write_text("edited")
    (repository / "new one.py").write_text("new")
    git(repository, "mv", "gone.py", "moved.py")
    assert facts() == {
        "commit": commit,
        "dirty": True,
        "changed": ["b c.py", "gone.py", "moved.py", "new one.py"],
    }


def test_without_git_or_commit_there_are_no_facts(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    monkeypatch.setattr(environment, "checkout", lambda: empty)
    assert facts() is None
    monkeypatch.setattr(environment, "checkout", lambda: repository)
    monkeypatch.setenv("PATH", str(empty))
    assert facts() is None


def test_packages_are_those_of_the_lock_in_the_versions_that_are_installed() -> None:
    found = environment.packages()
    assert {"numpy", "snakemake", "torch"} <= found.keys()
    assert found == {name: metadata.version(name) for name in found}


def test_a_gpu_is_listed_by_what_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tool there is none; the parser is fed with lines in the tool's documented format."""
    environment.listed_gpus.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.gpus() is None
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, NVIDIA H100 80GB HBM3, GPU-11, 570.1'\necho '1, Other, GPU-22, 570.1'\n")
    tool.chmod(0o755)
    environment.listed_gpus.cache_clear()
    try:
        found = environment.gpus()
    finally:
        environment.listed_gpus.cache_clear()
    assert found is not None
    assert [(gpu["index"], gpu["name"], gpu["uuid"], gpu["driver"]) for gpu in found] == [
        (0, "NVIDIA H100 80GB HBM3", "GPU-11", "570.1"),
        (1, "Other", "GPU-22", "570.1"),
    ]
    assert not any(gpu["used"] for gpu in found)


def test_only_variables_of_the_list_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert environment.variables()["SLURM_JOB_ID"] == "17"
    assert set(environment.variables()) <= set(environment.VARIABLES)
    assert not any(
        word in name for name in environment.VARIABLES for word in ("SECRET", "TOKEN", "KEY", "PASS", "USER")
    )


def test_determinism_is_read_from_torch_where_it_is_loaded() -> None:
    torch = pytest.importorskip("torch")
    before = torch.are_deterministic_algorithms_enabled()
    try:
        for wanted in (True, False):
            torch.use_deterministic_algorithms(wanted)
            found = environment.determinism()
            assert found is not None
            assert found["deterministic_algorithms"] is wanted
            assert found["threads"] == torch.get_num_threads()
            assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    finally:
        torch.use_deterministic_algorithms(before)


def test_the_processor_is_named() -> None:
    found = environment.cpu()
    assert found["model"]
    assert found["cores"] >= 1
