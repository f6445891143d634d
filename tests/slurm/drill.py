"""The faults that a night on a cluster can bring, each tried for real on a SLURM of our own: `make drill`.

Prints a table: the fault, what was seen, SLURM jobs lost, jobs that were completed twice, and whether the tables are
byte-identical to those of an undisturbed run on this machine. Names as arguments run those faults only.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as pytest has it

from cluster import Cluster, UnavailableError, new_folder
from harness import ACCOUNTING, Run, Study, causes, copy_checkout, copy_prepared

TRAIN = "train_summe_et"
_SEEN = re.compile(
    r"^(?:failed (?!:)|lost|waiting for|cancelled|ended|removed the lock|cannot|.*cannot write).*$", re.M
)


class Result(NamedTuple):
    """What came of a fault."""

    fault: str
    seen: str
    lost: int | None
    """None where the cluster keeps no accounts."""
    twice: int | None
    identical: bool


def over_its_memory(study: Study, cluster: Cluster) -> str:
    """The first attempt asks for too little memory."""
    run = study.on_slurm("--set-resources", f"{TRAIN}:mem_mb=450 if attempt == 1 else 4000")
    assert run.end() == 0, run.said()
    return run.said()


def over_its_time(study: Study, cluster: Cluster) -> str:
    """The first attempt hangs (it is stopped) and goes over its minute."""
    run = study.on_slurm("--set-resources", f"{TRAIN}:runtime=1 if attempt == 1 else 60")
    os.kill(study.until("training", lambda: study.script_of("train_runs"), run), signal.SIGSTOP)
    assert run.end() == 0, run.said()
    return run.said()


def killed_with_9(study: Study, cluster: Cluster) -> str:
    """Somebody, or the kernel, kills the job's process."""
    run = study.on_slurm()
    os.kill(study.until("training", lambda: study.script_of("train_runs"), run), signal.SIGKILL)
    assert run.end() == 0, run.said()
    return run.said()


def cancelled(study: Study, cluster: Cluster) -> str:
    """Somebody cancels the job."""
    run = study.on_slurm()
    study.until("training", lambda: study.script_of("train_runs"), run)
    cluster.slurm("scancel", study.running(TRAIN) or "")
    assert run.end() == 0, run.said()
    return run.said()


def node_lost(study: Study, cluster: Cluster) -> str:
    """The job's node goes off: its slurmd and every process of the job on it end at once."""
    run = study.on_slurm()
    study.until("training", lambda: study.script_of("train_runs"), run)
    job = study.running(TRAIN) or ""
    node = cluster.slurm("squeue", "-h", "-j", job, "--format=%N")
    cluster.power_off(node, job)
    code = run.end()
    cluster.start_node(node)
    cluster.wait("the node", lambda: cluster.slurm("sinfo", "-h", "-N", "-n", node, "--format=%t").startswith("idle"))
    assert code == 0, run.said()
    return run.said()


def controller_restarted(study: Study, cluster: Cluster) -> str:
    """slurmctld is killed while a job runs, and comes back after half a minute."""
    run = study.on_slurm()
    study.until("training", lambda: study.script_of("train_runs"), run)
    cluster.kill("slurmctld")
    time.sleep(30)
    cluster.start_controller()
    assert run.end() == 0, run.said()
    return run.said()


def snakemake_killed_then_resume(study: Study, cluster: Cluster) -> str:
    """Snakemake is killed while a job runs; `utopia resume` waits for the job."""
    run = study.on_slurm()
    study.until("training", lambda: study.script_of("train_runs"), run)
    run.kill()
    again = study.start("resume")
    assert again.end() == 0, again.said()
    assert not cluster.accounting or len(study.jobs(TRAIN)) == 1, "the job was submitted again"
    return again.said()


def snakemake_killed_then_run(study: Study, cluster: Cluster) -> str:
    """Snakemake is killed while a job runs; the plain command is given again, and cancels the job."""
    run = study.on_slurm()
    study.until("training", lambda: study.script_of("train_runs"), run)
    run.kill()
    again = study.on_slurm()
    assert again.end() == 0, again.said()
    return again.said()


def interrupted(study: Study, cluster: Cluster) -> str:
    """Ctrl-C while a job runs."""
    run = study.on_slurm()
    study.until("training", lambda: study.script_of("train_runs"), run)
    run.process.send_signal(signal.SIGINT)
    assert run.end() != 0
    assert study.running(TRAIN) is None, "Ctrl-C has left a job on the cluster"
    again = study.on_slurm()
    assert again.end() == 0, again.said()
    return run.said()


def full_disk(study: Study, cluster: Cluster) -> str:
    """The results' disk runs full in training; then it is made larger."""
    with SmallDisk(study, spare_kb=120):
        run = study.on_slurm()
        assert run.end() != 0, run.said()
        seen = run.said() + "\nfailed " + causes(study)
        _mount("-o", "remount,size=200M", str(study.folder / "results"))
        again = study.on_slurm()
        assert again.end() == 0, again.said()
        return _kept(study, seen)


def read_only(study: Study, cluster: Cluster) -> str:
    """The results folder cannot be written; then it can."""
    with SmallDisk(study, spare_kb=50_000):
        _mount("-o", "remount,ro", str(study.folder / "results"))
        run = study.on_slurm()
        assert run.end() != 0, run.said()
        _mount("-o", "remount,rw", str(study.folder / "results"))
        again = study.on_slurm()
        assert again.end() == 0, again.said()
        return _kept(study, run.said())


def retry_refused(study: Study, cluster: Cluster) -> str:
    """The first attempt asks for too little memory, the second for more than any node has."""
    run = study.on_slurm("--set-resources", f"{TRAIN}:mem_mb=450 if attempt == 1 else 400000")
    assert run.end() != 0, run.said()
    assert "over its memory" in run.said(), run.said()
    again = study.on_slurm()
    assert again.end() == 0, again.said()
    return run.said()


def damaged_input(study: Study, cluster: Cluster) -> str:
    """A file of features is damaged: training fails by itself, however often it is tried. Then the file is mended."""
    path = next((study.results / "features" / "store").rglob("*.safetensors"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    run = study.on_slurm()
    assert run.end() != 0, run.said()
    path.write_bytes(whole)
    again = study.on_slurm()
    assert again.end() == 0, again.said()
    return run.said()


def two_users(study: Study, cluster: Cluster) -> str:
    """A second user starts the same study in the same folder."""
    run = study.on_slurm()
    study.until("training", lambda: study.script_of("train_runs"), run)
    second = study.on_slurm()
    assert second.end() != 0, second.said()
    assert run.end() == 0, run.said()
    return "cannot start: " + second.said().splitlines()[0]


FAULTS: dict[str, Callable[[Study, Cluster], str]] = {
    fault.__name__: fault
    for fault in (
        over_its_memory, over_its_time, killed_with_9, cancelled, interrupted, snakemake_killed_then_resume,
        snakemake_killed_then_run, full_disk, read_only, retry_refused, damaged_input, two_users, controller_restarted,
        node_lost,
    )
}  # fmt: skip
ALONE = ("controller_restarted", "node_lost")
"""Faults of the cluster itself, which every job feels."""


class SmallDisk:
    """The results on a file system of their own, with little room."""

    def __init__(self, study: Study, spare_kb: int) -> None:
        self.folder, self.spare_kb = study.folder / "results", spare_kb

    def __enter__(self) -> None:
        aside = self.folder.with_name("aside")
        self.folder.rename(aside)
        self.folder.mkdir()
        _mount("-t", "tmpfs", "-o", "size=200M", "tmpfs", str(self.folder))
        shutil.copytree(aside, self.folder, dirs_exist_ok=True)
        shutil.rmtree(aside)
        blocks = os.statvfs(self.folder)
        used = (blocks.f_blocks - blocks.f_bfree) * blocks.f_frsize // 1024
        _mount("-o", f"remount,size={used + self.spare_kb}k", str(self.folder))

    def __exit__(self, *error: object) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


def _kept(study: Study, seen: str) -> str:
    """Copy the results off the file system that is about to go."""
    shutil.copytree(study.folder / "results", study.folder / "kept")
    return seen


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, text=True)


def tables_of(study: Study) -> dict[str, str]:
    """The tables, wherever they are now."""
    kept = study.folder / "kept"
    if kept.is_dir():
        shutil.copytree(kept, study.folder / "results", dirs_exist_ok=True)
    return study.tables()


def try_fault(name: str, study: Study, cluster: Cluster, expected: dict[str, str]) -> Result:
    """Bring a fault about and see what comes of it."""
    said = FAULTS[name](study, cluster)
    seen = list(dict.fromkeys(match[0].strip() for match in _SEEN.finditer(said)))
    lost, twice = None, None
    if cluster.accounting:
        lost = sum(state != "COMPLETED" for _, state, _ in study.jobs())
        twice = len(study.completed_twice())
    return Result(name, "; ".join(seen)[:300], lost, twice, tables_of(study) == expected)


def main() -> int:
    """Run the drill; 1 if a fault changed a table, or a job ran twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", choices=[*FAULTS, []], metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--without-accounting", action="store_true", help="on a cluster that keeps no accounts")
    parser.add_argument("--at-once", type=int, default=3, help="faults that are tried at the same time")
    chosen = parser.parse_args()
    names = chosen.faults or list(FAULTS)
    folder, cluster = (
        Path(tempfile.mkdtemp(prefix="utopia-drill-")),
        Cluster(new_folder(), accounting=not chosen.without_accounting),
    )
    results: list[Result] = []
    try:
        cluster.start()
        base = copy_checkout(folder / "undisturbed")
        run: Run = base.here()
        assert run.end() == 0, run.said()
        expected = base.tables()
        studies = {name: copy_prepared(base, folder / name) for name in names}
        if chosen.without_accounting:
            for study in studies.values():
                study.hide(ACCOUNTING)
        with ThreadPoolExecutor(chosen.at_once) as pool:
            tried = {
                name: pool.submit(try_fault, name, studies[name], cluster, expected)
                for name in names
                if name not in ALONE
            }
            results += [_result(future.result, name) for name, future in tried.items()]
        for name in (name for name in names if name in ALONE):
            results.append(_result(lambda name=name: try_fault(name, studies[name], cluster, expected), name))
    except UnavailableError as reason:
        sys.exit(str(reason))
    finally:
        cluster.stop()
        shutil.rmtree(cluster.folder, ignore_errors=True)
    print("| fault | what was seen | jobs lost | completed twice | tables identical |")
    print("|---|---|---|---|---|")
    for one in results:
        counts = ("not known" if count is None else count for count in (one.lost, one.twice))
        print(f"| {one.fault} | {one.seen} | {' | '.join(map(str, counts))} | {'yes' if one.identical else 'NO'} |")
    good = all(one.identical and not one.twice for one in results)
    if good:
        shutil.rmtree(folder)
    else:
        print(f"the studies are kept in {folder}", file=sys.stderr)
    return 0 if good else 1


def _result(get: Callable[[], Result], name: str) -> Result:
    try:
        return get()
    except AssertionError as error:
        return Result(name, f"DID NOT RECOVER: {error}", -1, -1, False)


if __name__ == "__main__":
    sys.exit(main())
