"""What an audit costs: `explain` on a ledger of the size of the paper study, `verify` against plain hashing, and what
recording adds to a job, and what the fingerprint of the code does.

    python benchmarks/audit.py explain --study-folder results/miniature --jobs 3000
    python benchmarks/audit.py verify --gigabytes 2
    python benchmarks/audit.py record
    python benchmarks/audit.py fingerprint
    python benchmarks/audit.py load --study-folder results/miniature --jobs 20000 --files 140000

`load` makes a study of that many records and files (its trainings again under other runs' names, with their files) and
asks `explain`, `touched` and `verify --hash-only` about it, each as a whole process.

CPU seconds are those of this process and its threads; wall seconds depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]


def enlarged(source: Path, target: Path, jobs: int) -> None:
    """A copy of a finished study with the records of as many jobs: its trainings again under other runs' names."""
    shutil.copytree(source, target)
    records = [json.loads(path.read_text()) for path in sorted(target.rglob("*.record.json"))]
    from utopia.provenance.job import sealed

    trained = [one for one in records if one["rule"].startswith(("train_", "evaluate_"))]
    count = len(records)
    number = 0
    while count < jobs:
        number += 1
        for record in trained:
            text = json.dumps({name: value for name, value in record.items() if name != "digest"})
            text = text.replace("/runs/", f"/runs/copy{number}.")
            again = sealed(json.loads(text))
            path = target.parents[1] / f"{again['outputs'][0]['path']}.record.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(again, indent=1, sort_keys=True))
            count += 1
            if count >= jobs:
                break


def enlarged_with_files(source: Path, target: Path, jobs: int, files: int) -> tuple[int, int]:
    """A copy of a finished study with about as many records and files: its runs again under other names.

    Files get second names (hard links), so that no record has to be told another hash. Returns how many there are.
    """
    from utopia.provenance.job import sealed

    shutil.copytree(source, target)
    base = target.parents[1]
    paths = sorted(target.rglob("*.record.json"))
    records = [json.loads(path.read_text()) for path in paths]
    trained = [one for one in records if one["rule"].startswith("train_")]
    evaluated = [one for one in records if one["rule"].startswith("evaluate_")]
    count, made, number = len(records), sum(len(one["outputs"]) for one in records), 0
    while count < jobs:
        number += 1
        # As many of each kind as brings both counts to what is asked for.
        wanted = trained if made < files * count / jobs else evaluated
        again = wanted[number % len(wanted)]
        text = json.dumps({name: value for name, value in again.items() if name != "digest"})
        copy = json.loads(text.replace("/runs/", f"/runs/copy{number}."))
        copy["inputs"], copy["roles"]["inputs"] = again["inputs"], again["roles"]["inputs"]
        copy = sealed(copy)
        for then, now in zip(again["outputs"], copy["outputs"], strict=True):
            path = base / now["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.hardlink_to(base / then["path"])
        path = base / f"{copy['outputs'][0]['path']}.record.json"
        path.write_text(json.dumps(copy, indent=1, sort_keys=True))
        count, made = count + 1, made + len(copy["outputs"])
    return count, made


def load(chosen: argparse.Namespace) -> None:
    """The commands on a study of many records and files: seconds, and the most memory that each held."""
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
        base = Path(folder)
        for name in ("workflow", "envs"):
            shutil.copytree(REPOSITORY / name, base / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(REPOSITORY / "config.yaml", base)
        study = base / "results" / chosen.study_folder.name
        count, made = enlarged_with_files(chosen.study_folder, study, chosen.jobs, chosen.files)
        one = json.loads(next((study / "tables").glob("*.csv.record.json")).read_text())
        table = one["params"]["settings"]["table"]
        row, column = next((row["id"], name) for row in table["rows"] for name in row.get("runs") or {})
        print(f"{count} records, {made} files")
        plain = _measured([sys.executable, "-c", _HASH_ALL, str(study)], base)
        print(f"plain hashing: {plain[0]:.1f} s wall, {plain[1]:.1f} s CPU, {plain[2]:.0f} MB")
        for words in (
            ("explain", f"{table['id']}/{row}/{column}"),
            ("touched", "--host", one["host"]),
            ("verify", "--hash-only", "--partial"),
        ):
            command = [sys.executable, "-m", "utopia.cli.main", *words, "--study", study.name]
            for _ in range(chosen.repeat):
                wall, cpu, memory = _measured(command, base)
                ratio = f", {wall / plain[0]:.2f} x plain hashing" if words[0] == "verify" else ""
                print(f"{' '.join(words)}: {wall:.1f} s wall, {cpu:.1f} s CPU, {memory:.0f} MB{ratio}")


_HASH_ALL = """
import hashlib, os, sys
from concurrent.futures import ThreadPoolExecutor
def one(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
paths = [os.path.join(at, name) for at, _, names in os.walk(sys.argv[1]) for name in names]
with ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(one, paths))
"""


def _measured(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and the most memory (MB) of a process."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "workflow" / "lib")}
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def explain(chosen: argparse.Namespace) -> None:
    """`utopia explain` of a cell as a whole process, on a study with many records."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for name in ("workflow", "envs", "config.yaml"):
            (base / name).symlink_to(REPOSITORY / name)
        study = base / "results" / chosen.study_folder.name
        enlarged(chosen.study_folder, study, chosen.jobs)
        code = (
            "import sys, os, time\nstarted = time.perf_counter()\n"
            "from pathlib import Path\nfrom utopia.cli import audit, explain as command\n"
            f"os.chdir({folder!r})\n"
            f"study = audit.Study({study.name!r}, Path('results', {study.name!r}), None)\n"
            "graph = audit.graph(study)\nread = time.perf_counter()\n"
            "from utopia.provenance.explain import explain\nfrom utopia.provenance.subject import find\n"
            "cell = next(cell.id for cell in graph.cells.values() if cell.runs)\n"
            "answer = explain(graph, find(graph, cell), study.name)\n"
            "text = chr(10).join(command.in_short(answer, []))\n"
            "print(len(graph.ledger.records), 'records;', cell, len(text.splitlines()), 'lines;', "
            "f'read {read - started:.2f} s, answered {time.perf_counter() - read:.2f} s')"
        )
        for _ in range(chosen.repeat):
            before = os.times()
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            spent = os.times()
            cpu = spent.children_user + spent.children_system - before.children_user - before.children_system
            print(f"whole process: {time.perf_counter() - started:.2f} s wall, {cpu:.2f} s CPU")


def verify(chosen: argparse.Namespace) -> None:
    """The whole of `verify` (without computing anything again) against hashing the same bytes with as many threads."""
    from utopia.provenance.job import record
    from utopia.provenance.ledger import Ledger
    from utopia.provenance.lineage import Graph
    from utopia.provenance.verify import verify as audited

    with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
        os.chdir(folder)
        root = Path("results/big")
        size = 4 << 20
        paths = [
            root / "features" / "store" / f"{n:05d}.safetensors" for n in range(int(chosen.gigabytes * 1e9 / size))
        ]
        block = os.urandom(size)
        for number in range(0, len(paths), 50):
            part = paths[number : number + 50]
            index = root / "features" / "d" / f"shard-{number:04d}.json"
            with record(_job("extract", [], [str(index)])) as job:
                for each in part:
                    each.parent.mkdir(parents=True, exist_ok=True)
                    each.write_bytes(each.name.encode() + block[len(each.name) :])
                index.parent.mkdir(parents=True, exist_ok=True)
                index.write_text(json.dumps({"items": {}}))
                job.made(*part)
        threads = os.cpu_count() or 1
        for _ in range(chosen.repeat):
            plain = _timed(lambda: _plain(paths, threads))
            graph = Graph(Ledger.read(root), str(root))
            ours = _timed(lambda graph=graph: audited(graph, root, "big", recompute=False))
            print(
                f"{chosen.gigabytes} GB in {len(paths)} files, {threads} threads: plain {plain[0]:.2f} s wall, "
                f"{plain[1]:.2f} s CPU; verify {ours[0]:.2f} s wall, {ours[1]:.2f} s CPU; "
                f"{ours[0] / plain[0]:.2f} x wall, {ours[1] / plain[1]:.2f} x CPU"
            )


_AGAIN = """
import contextlib, json, runpy, sys, time
from pathlib import Path
from types import SimpleNamespace
record_path, base, folder, how = sys.argv[1:]
from utopia.provenance import job as machinery, replay, watch
from utopia.provenance.ledger import Record
from utopia.provenance.paths import Portable
if how == "bare":
    @contextlib.contextmanager
    def nothing(snakemake):
        yield SimpleNamespace(used=lambda *a: None, made=lambda *a: None, note=lambda *a: None)
    machinery.record = nothing
if how == "unwatched":
    watch._install = lambda: None
record = Record(Path(record_path), json.loads(Path(record_path).read_text()))
before = time.process_time()
replay.replay(record, Portable(Path(base)), Path(folder))
print(time.process_time() - before)
"""


def record(chosen: argparse.Namespace) -> None:
    """A job done again with recording, without the watch over opened files, and without any recording."""
    base = chosen.study_folder.parents[1]
    for rule in chosen.rules:
        path = next(
            path
            for path in sorted(chosen.study_folder.rglob("*.record.json"))
            if json.loads(path.read_text())["rule"].startswith(rule)
        )
        spent: dict[str, list[float]] = {"full": [], "unwatched": [], "bare": []}
        for _ in range(chosen.repeat):
            for how, seconds in spent.items():
                with tempfile.TemporaryDirectory() as folder:
                    words = [sys.executable, "-c", _AGAIN, str(path), str(base), folder, how]
                    done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=folder)
                seconds.append(float(done.stdout.splitlines()[-1]))
        full, unwatched, bare = (min(seconds) for seconds in spent.values())
        print(
            f"{rule}: {bare:.2f} s CPU without recording; recording adds {full - bare:.3f} s; the watch "
            f"{full - unwatched:.3f} s ({100 * (full - bare) / bare:.1f} % and {100 * (full - unwatched) / bare:.1f} %)"
        )


_FINGERPRINT = """
import ast, sys, time
from utopia import fingerprint
paths = sorted(fingerprint.PACKAGE.rglob("*.py"))
names = [".".join(("utopia", *path.relative_to(fingerprint.PACKAGE).with_suffix("").parts)) for path in paths]
if sys.argv[1] == "plain":
    before = time.process_time()
    for path in paths:
        ast.parse(path.read_bytes())
else:
    if sys.argv[1] == "afresh":
        fingerprint.read_afresh()
    before = time.process_time()
    fingerprint.closure(*(name.removesuffix(".__init__") for name in names))
print(time.process_time() - before)
"""


def fingerprint(chosen: argparse.Namespace) -> None:
    """The fingerprint of the whole package, as an audit takes it and as jobs do, against parsing the same files."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def once(how: str) -> float:
        words = [sys.executable, "-c", _FINGERPRINT, how]
        return float(subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout)

    once("stored")
    plain, *ours = (min(once(how) for _ in range(chosen.repeat)) for how in ("plain", "afresh", "stored"))
    for how, seconds in zip(("parsing every file", "with what is stored"), ours, strict=True):
        print(f"fingerprint of all, {how}: {seconds:.3f} s CPU, {seconds / plain:.2f} x plain parsing ({plain:.2f} s)")


def _plain(paths: list[Path], threads: int) -> None:
    def one(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, paths))


def _timed(call: Any) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def _job(rule: str, inputs: list[str], outputs: list[str]) -> Any:
    from utopia import fingerprint

    params = {"code": fingerprint.code("utopia.errors")}
    return SimpleNamespace(rule=rule, wildcards={}, input=inputs, output=outputs, log=[], params=params, config={})


def main() -> None:
    """Run the benchmark that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("explain", "verify", "record", "fingerprint", "load"))
    parser.add_argument("--study-folder", type=Path, default=REPOSITORY / "results" / "miniature")
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--files", type=int, default=140_000)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--rules", nargs="+", default=["train_", "evaluate_", "render_table"])
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    chosen.study_folder = chosen.study_folder.absolute()
    benchmarks = {"explain": explain, "verify": verify, "record": record, "fingerprint": fingerprint, "load": load}
    benchmarks[chosen.what](chosen)


if __name__ == "__main__":
    main()
