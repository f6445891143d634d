"""The facts about software and hardware that a record holds. All are cheap, and none imports torch."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from utopia import files
from utopia.fingerprint import PACKAGE

KERNELS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
)
"""Environment variables that decide in which order libraries add: they change the last bits of results."""

VARIABLES = (
    *KERNELS,
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "PYTHONHASHSEED",
    "SLURM_JOB_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "SLURM_CPUS_PER_TASK",
    "SLURM_RESTART_COUNT",
)
"""The only environment variables that a record may hold: they steer numbers or say where a job ran; none is secret."""

_COMPUTING = ("numpy", "scipy", "matplotlib", "pillow")
"""Packages that metrics, tables and figures are computed and drawn with."""
_LOCK = "envs/requirements.txt"
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==", re.MULTILINE)
_SECONDS = 10.0


@cache
def checkout() -> Path | None:
    """The folder of the checkout that the package runs from; None where it is installed apart from one."""
    for folder in PACKAGE.parents:
        if (folder / _LOCK).is_file():
            return folder
    return None


@cache
def git() -> dict[str, Any] | None:
    """`{commit, dirty, changed}` of the checkout, `changed` being the paths that differ from the commit.

    What lies in `results/` is made by the code and is no part of it: a reference kept since the commit changes nothing.
    The branch's name is left out: it says nothing about the content. None without git or without a repository.
    """
    folder = checkout()
    if folder is None or shutil.which("git") is None:
        return None
    text = _output([*git_in(folder), "status", "--porcelain=v2", "--branch", "-z"])
    commit = re.search(r"^# branch\.oid ([0-9a-f]{40,64})$", (text or "").replace("\0", "\n"), re.MULTILINE)
    if text is None or commit is None:
        return None
    changed = sorted(path for path in _changed(text) if not path.startswith("results/"))
    return {"commit": commit[1], "dirty": bool(changed), "changed": changed}


def refusal() -> str:
    """Why git says nothing of the checkout, in its own words; empty where it does, or where there is nothing to ask."""
    folder = checkout()
    if folder is None or shutil.which("git") is None:
        return ""
    try:
        command = [*git_in(folder), "status", "--porcelain"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, errors="replace")
    except (OSError, subprocess.SubprocessError) as error:
        return f"git does not answer ({error})"
    return done.stderr.strip().partition("\n")[0] if done.returncode else ""


def git_in(folder: Path) -> list[str]:
    """A git command about the checkout. Its code is being run, so it is trusted, whichever account owns it."""
    trusted = ["-c", f"safe.directory={folder}", "-c", "core.fsmonitor=false"]
    return ["git", *trusted, "--no-optional-locks", "-C", str(folder)]


def _changed(text: str) -> list[str]:
    """The paths in the output of `git status --porcelain=v2 -z`."""
    paths: list[str] = []
    entries = iter(text.split("\0"))
    fields_before_path = {"1": 8, "2": 9, "u": 10, "?": 1}
    for entry in entries:
        before = fields_before_path.get(entry[:1])
        if before is None:
            continue
        paths.append(entry.split(" ", before)[-1])
        if entry.startswith("2"):  # a renamed file: its former path is the next entry
            paths.append(next(entries, ""))
    return paths


@cache
def lock() -> dict[str, str] | None:
    """Path (below the checkout) and SHA-256 of the lock file; None where there is no checkout."""
    folder = checkout()
    return None if folder is None else {"path": _LOCK, "sha256": files.sha256(folder / _LOCK)}


@cache
def packages() -> dict[str, str]:
    """Versions of the installed distributions that the lock names (of all installed ones where there is no lock)."""
    folder = checkout()
    wanted = None
    if folder is not None:
        wanted = {_normal(name) for name in _PINNED.findall((folder / _LOCK).read_text(encoding="utf-8"))}
    versions: dict[str, str] = {}
    for name, version in _installed():
        # The first one on the path is the one that is imported.
        if (wanted is None or name in wanted) and name not in versions:
            versions[name] = version
    return dict(sorted(versions.items()))


@cache
def pinned() -> dict[str, str]:
    """Normalised name -> version of what the lock pins for this platform and Python; empty where there is no lock."""
    folder = checkout()
    return {} if folder is None else pins((folder / _LOCK).read_text(encoding="utf-8"))


def pins(lock: str) -> dict[str, str]:
    """Normalised name -> version of what the text of a lock pins for this platform and Python."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    versions: dict[str, str] = {}
    for line in lock.splitlines():
        if line[:1].isalnum():
            requirement = Requirement(line.rstrip(" \\"))
            if requirement.marker is None or requirement.marker.evaluate():
                (specifier,) = requirement.specifier
                versions[canonicalize_name(requirement.name)] = specifier.version
    return versions


def differing(installed: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Packages of another version than is wanted, `name 1.0, not 2.0`; one that is missing is none of these."""
    return [
        f"{name} {installed[name]}, not {version}"
        for name, version in wanted.items()
        if installed.get(name, version) != version
    ]


def _installed() -> list[tuple[str, str]]:
    """Name and version of every distribution on the path, by folder name (METADATA takes 20 times longer)."""
    distributions = []
    for entry in sys.path:
        try:
            names = sorted(path.name for path in Path(entry or ".").iterdir())
        except OSError:
            continue
        for name in names:
            stem = name.removesuffix(".dist-info")
            if stem != name and "-" in stem:
                distribution, version = stem.split("-", 1)
                distributions.append((_normal(distribution), version))
    return distributions


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def snakemake_version() -> str | None:
    """The version of the installed Snakemake; None where there is none."""
    try:
        return metadata.version("snakemake")
    except metadata.PackageNotFoundError:
        return None


@cache
def cpu() -> dict[str, Any]:
    """`{model, cores}`: the processor's name and how many of its cores this process may use."""
    model = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        named = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
        model = named[1].strip() if named else model
    except OSError:
        pass  # not Linux: the platform's own name stands
    affinity = getattr(os, "sched_getaffinity", None)
    return {"model": model, "cores": len(affinity(0)) if affinity else os.cpu_count() or 1}


def other_machine(facts: Mapping[str, Any]) -> bool:
    """Whether a job ran on another kind of processor, or with other versions of what computes, than are here: then
    numbers may come out otherwise in their last digits, and pictures in their pixels.
    """
    then, now = (facts.get("environment") or {}).get("packages") or {}, packages()
    return (facts.get("cpu") or {}).get("model") != cpu()["model"] or any(
        then.get(name) != now.get(name) for name in _COMPUTING
    )


@cache
def host() -> str:
    """The name of this machine."""
    return socket.gethostname()


@cache
def listed_gpus() -> tuple[dict[str, Any], ...]:
    """The GPUs that the driver lists: `index`, `name`, `uuid`, `driver`; none where it is not there."""
    if shutil.which("nvidia-smi") is None:
        return ()
    text = _output(["nvidia-smi", "--query-gpu=index,name,uuid,driver_version", "--format=csv,noheader"])
    rows = [[cell.strip() for cell in line.split(",")] for line in (text or "").splitlines()]
    return tuple(
        {"index": int(row[0]), "name": row[1], "uuid": row[2], "driver": row[3]}
        for row in rows
        if len(row) == 4 and row[0].isdigit()
    )


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU: a look at its device nodes, which every start of Snakemake can afford."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def gpus() -> list[dict[str, Any]] | None:
    """Every GPU of this machine: `{index, name, uuid, driver, used}`; None where there is none.

    `used` says whether this process has allocated memory on it: False where torch, or its CUDA part, was never
    started, and None where this cannot be told.
    """
    listed = listed_gpus()
    if not listed:
        return None
    used = _used_gpus()
    return [{**gpu, "used": None if used is None else gpu["uuid"].removeprefix("GPU-") in used} for gpu in listed]


def _used_gpus() -> set[str] | None:
    torch = sys.modules.get("torch")
    try:
        if torch is None or not torch.cuda.is_initialized():
            return set()
        return {
            str(torch.cuda.get_device_properties(index).uuid).removeprefix("GPU-")
            for index in range(torch.cuda.device_count())
            if torch.cuda.max_memory_reserved(index) > 0
        }
    except (AttributeError, RuntimeError):
        return None


def determinism() -> dict[str, Any] | None:
    """Torch's settings that decide whether a computation repeats to the bit; None where torch is not imported."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cuda": torch.version.cuda,
    }


def variables() -> dict[str, str]:
    """The allow-listed environment variables that are set."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def _output(command: list[str]) -> str | None:
    """What a command prints; None if it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True, errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
