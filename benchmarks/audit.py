"""What an audit costs: commands on a study of many records and files, `verify` against plain hashing, what recording
adds to a job, and what the fingerprint of the code does.

    python benchmarks/audit.py --keep                 # all of it, beside results/miniature
    python benchmarks/audit.py fingerprint record     # parts
    python benchmarks/audit.py load --study-folder results/miniature --jobs 20000 --files 140000

`load` makes a study of that many records and files (its trainings again under other runs' names, with their files) and
asks `explain`, `touched` and `verify --hash-only` about it, each as a whole process.

CPU seconds are those of whole processes, or of this one and its threads; medians of rounds in turns, with the least and
the largest.
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from _results import Rows, finish, in_turns, options, ratio, rows_of, spread

REPOSITORY = Path(__file__).resolve().parents[1]


def enlarged(source: Path, target: Path, jobs: int, files: int) -> tuple[int, int]:
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


def load(chosen: argparse.Namespace, rows: Rows) -> None:
    """The commands on a study of many records and files: seconds, and the most memory that each held."""
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
        base = Path(folder)
        for name in ("workflow", "envs"):
            shutil.copytree(REPOSITORY / name, base / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(REPOSITORY / "config.yaml", base)
        study = base / "results" / chosen.study_folder.name
        count, made = enlarged(chosen.study_folder, study, chosen.jobs, chosen.files)
        one = json.loads(next((study / "tables").glob("*.csv.record.json")).read_text())
        table = one["params"]["settings"]["table"]
        row, column = next((row["id"], name) for row in table["rows"] for name in row.get("runs") or {})
        command = [sys.executable, "-m", "utopia.cli.main"]
        commands = {
            "hashing every file in plain Python": [sys.executable, "-c", _HASH_ALL, str(study)],
            "verify --hash-only": [*command, "verify", "--hash-only", "--partial", "--study", study.name],
            "touched --host": [*command, "touched", "--host", one["host"], "--study", study.name],
            "explain": [*command, "explain", f"{table['id']}/{row}/{column}", "--study", study.name],
        }
        ways = {name: lambda words=words: _measured(words, base) for name, words in commands.items()}
        spent = in_turns(ways, chosen.rounds)
        plain = [seconds for seconds, _ in spent["hashing every file in plain Python"]]
        for name, pairs in spent.items():
            seconds = [each for each, _ in pairs]
            facts: dict[str, Any] = {"CPU s": spread(seconds), "MB": max(memory for _, memory in pairs)}
            facts |= {"of plain hashing": ratio(seconds, plain)} if name.startswith("verify") else {}
            rows.add(part=f"a study of {count:,} records and {made:,} files", what=name, **facts)


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


def _measured(command: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds and the most memory (MB) of a process."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "workflow" / "lib")}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, round(usage.ru_maxrss / 1024)


def verify(chosen: argparse.Namespace, rows: Rows) -> None:
    """The whole of `verify` (without computing anything again) against hashing the same bytes with as many threads."""
    from utopia.provenance.job import record
    from utopia.provenance.ledger import Ledger
    from utopia.provenance.lineage import Graph
    from utopia.provenance.verify import verify as audited

    with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
        before = Path.cwd()
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

        def audit() -> None:
            audited(Graph(Ledger.read(root), str(root)), root, "big", recompute=False)

        ways = {"plain hashing": lambda: _timed(lambda: _plain(paths, threads)), "verify": lambda: _timed(audit)}
        spent = in_turns(ways, chosen.rounds)
        for name, seconds in spent.items():
            facts = {} if name == "plain hashing" else {"of plain hashing": ratio(seconds, spent["plain hashing"])}
            stage = f"{chosen.gigabytes:g} GB in {len(paths)} files, {threads} threads"
            rows.add(part=stage, what=name, **{"CPU s": spread(seconds)}, **facts)
        os.chdir(before)


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


def record(chosen: argparse.Namespace, rows: Rows) -> None:
    """A job done again with recording, without the watch over opened files, and without any recording."""
    base = chosen.study_folder.parents[1]
    for rule in chosen.rules:
        path = next(
            path
            for path in sorted(chosen.study_folder.rglob("*.record.json"))
            if json.loads(path.read_text())["rule"].startswith(rule)
        )

        def once(how: str, path: Path = path) -> float:
            with tempfile.TemporaryDirectory() as folder:
                words = [sys.executable, "-c", _AGAIN, str(path), str(base), folder, how]
                done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=folder)
            return float(done.stdout.splitlines()[-1])

        ways = {how: lambda h=how: once(h) for how in ("bare", "unwatched", "full")}
        spent = in_turns(ways, chosen.rounds)
        added = [full - bare for full, bare in zip(spent["full"], spent["bare"], strict=True)]
        watch = [full - less for full, less in zip(spent["full"], spent["unwatched"], strict=True)]
        facts = {"CPU s without recording": spread(spent["bare"]), "recording adds": spread(added)}
        rows.add(part="a job", what=rule.strip("_"), **facts, **{"of it the watch over files": spread(watch)})


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


def fingerprint(chosen: argparse.Namespace, rows: Rows) -> None:
    """The fingerprint of the whole package, as an audit takes it and as jobs do, against parsing the same files."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def once(how: str) -> float:
        words = [sys.executable, "-c", _FINGERPRINT, how]
        return float(subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout)

    once("stored")
    ways = {"parsing alone": "plain", "every file parsed": "afresh", "with what is stored": "stored"}
    spent = in_turns({name: lambda h=how: once(h) for name, how in ways.items()}, chosen.rounds)
    for name, seconds in spent.items():
        facts = {} if name == "parsing alone" else {"of parsing alone": ratio(seconds, spent["parsing alone"])}
        rows.add(part="the fingerprint of the whole package", what=name, **{"CPU s": spread(seconds)}, **facts)


def _plain(paths: list[Path], threads: int) -> None:
    def one(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, paths))


def _timed(call: Callable[[], None]) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


def _job(rule: str, inputs: list[str], outputs: list[str]) -> Any:
    from utopia import fingerprint

    params = {"code": fingerprint.code("utopia.errors")}
    return SimpleNamespace(rule=rule, wildcards={}, input=inputs, output=outputs, log=[], params=params, config={})


PARTS = {"load": load, "verify": verify, "record": record, "fingerprint": fingerprint}


def main() -> None:
    """Run what is asked for."""
    parser = options(__doc__, 5)
    parser.add_argument("what", choices=[*PARTS, []], nargs="*", help="all of it, where nothing is named")
    parser.add_argument("--study-folder", type=Path, default=REPOSITORY / "results" / "miniature")
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--files", type=int, default=35_000)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--rules", nargs="+", default=["train_", "evaluate_", "render_table"])
    chosen = parser.parse_args()
    chosen.study_folder = chosen.study_folder.absolute()
    rows = rows_of(chosen)
    for name in chosen.what or PARTS:
        PARTS[name](chosen, rows)
    finish("audit", chosen, rows)


if __name__ == "__main__":
    main()
