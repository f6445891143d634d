"""Does the table `planted_truth` see a bug? Twenty of them, one after another in a copy of the checkout.

    python benchmarks/planted_bugs.py             # all: about a quarter of an hour on one core
    python benchmarks/planted_bugs.py NAME ...    # some of them, by their names
    python benchmarks/planted_bugs.py --write     # and puts the table into docs/planted_truth.md

Each bug changes one place of the package. The jobs behind the table run again as far as the change reaches them, all in
one process; a bug is found where a row fails that passes without it. A bug that stops a job with an error would be seen
by anybody, so such a one counts as not found here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = "workflow/lib/utopia"
PAGE = REPOSITORY / "docs" / "planted_truth.md"
BEGIN, END = "<!-- benchmarks/planted_bugs.py writes this -->", "<!-- to here -->"
SETTINGS = {"study": "miniature", "tables": ["planted_truth"], "figures": [], "results": "results"}
_TRACKED = ("workflow", "config", "envs", "profiles", "config.yaml", "Snakefile", "pyproject.toml")


class Bug(NamedTuple):
    """A change of one place: `old` stands once in `file`."""

    name: str
    file: str
    old: str
    new: str


BUGS = (
    Bug(
        "CWL's weights upside down, n / n~",
        "distribution/weights.py",
        "np.divide(utopia_b, count_b, out=np.zeros_like(utopia_b), where=count_b > 0)",
        "np.divide(count_b, utopia_b, out=np.ones_like(utopia_b), where=utopia_b > 0)",
    ),
    Bug("CWL's weights are all 1", "losses/cwl.py", "Weights(video.weight,", "Weights(np.ones(len(video.weight)),"),
    Bug(
        "the kernel lies one bin beside its place",
        "distribution/kernel.py",
        "-0.5 * (offset / settings.sigma)",
        "-0.5 * ((offset + width) / settings.sigma)",
    ),
    Bug(
        "all repeats share one seed", "training/replica.py", "self.fold, self.repeat, *member", "self.fold, 0, *member"
    ),
    Bug(
        "training labels come one step late",
        "labels/build.py",
        "np.asarray(values, dtype=np.float32 if vector else np.float64)",
        "np.roll(np.asarray(values, dtype=np.float32 if vector else np.float64), suffix == '', axis=0)",
    ),
    Bug("features come one step late", "features/read.py", 'side="right") - 1', 'side="right") - 2'),
    Bug(
        "test series are trained on",
        "training/data.py",
        'train = tuple(item for item in fold["train"] if',
        'train = tuple(item for item in (*fold["train"], *fold["test"]) if',
    ),
    Bug(
        "predictions are judged by the training label",
        "evaluation/evaluated_item.py",
        "label = labels.evaluation(item, target)",
        "label = labels.label(item, target)",
    ),
    Bug(
        "the true distribution is that of the label's own annotators",
        "distribution/approximate.py",
        "held_out_counts(votes_AT[~behind if judges is None else judges]",
        "held_out_counts(votes_AT[behind]",
    ),
    Bug(
        "the correlation does not centre its series",
        "evaluation/metrics.py",
        "    p, y = p - p.mean(), y - y.mean()\n    r = ",
        "    r = ",
    ),
    Bug(
        "the squared error is an absolute one",
        "evaluation/metrics.py",
        "np.mean((p - y) ** 2)",
        "np.mean(np.abs(p - y))",
    ),
    Bug(
        "labels that do not count are judged",
        "labels/read.py",
        "return None if stored is None else stored > 0",
        "return None",
    ),
    Bug("L1 sees the first reaction alone", "losses/_reactions.py", "error_RC.mean(dim=1)", "error_RC[:, 0]"),
    Bug(
        "the rate of clips is not obeyed",
        "training/clip_data.py",
        "return every, max(1, round(rate))",
        "return 1, max(1, round(rate))",
    ),
    Bug(
        "the learning rate is a hundredth",
        "training/trainer.py",
        "return self.recipe.learning_rate",
        "return self.recipe.learning_rate / 100",
    ),
    Bug(
        "the epoch of the highest validation loss is kept",
        "training/selection.py",
        "min(known)[1] if known",
        "max(known)[1] if known",
    ),
    Bug(
        "gains have the sign of the metric",
        "evaluation/uncertainty.py",
        "change = sign * (treated - without)",
        "change = treated - without",
    ),
    Bug(
        "the reactions' correlation does not centre its series",
        "evaluation/reactions.py",
        "    p, y = p - p.mean(axis=0), y - y.mean(axis=0)\n",
        "",
    ),
    Bug("TNS fills the bins that have too many", "distribution/plan.py", "utopia_b - count_b)", "count_b - utopia_b)"),
    Bug("a prediction cannot be negative", "models/_common.py", '"tanh" if low < 0 else "sigmoid"', '"sigmoid"'),
)


def main() -> int:
    """Try the bugs and print what came of each; 1 if fewer than nine in ten are found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="bugs to try: the beginning of their names (default: all)")
    parser.add_argument(
        "--base", type=Path, help="results/miniature of a finished run: what of it is up to date is not made again"
    )
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(REPOSITORY)}")
    parser.add_argument("--jobs", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.jobs:
        print(json.dumps(run_jobs()))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "base", "results", "miniature")
        clean = tried(None, Path(folder, "base"), chosen.base)
        if clean["missed"] or clean["error"]:
            what = clean["error"] or f"these rows fail: {', '.join(clean['missed'])}"
            print(f"without any bug: {what}", file=sys.stderr)
            return 1
        bugs = [bug for bug in BUGS if not chosen.names or bug.name.startswith(tuple(chosen.names))]
        lines = ["| planted bug | found | rows that fail | CPU s |", "|---|---|---|---|"]
        print("\n".join(lines), flush=True)
        found = 0
        for number, bug in enumerate(bugs):
            told = tried(bug, Path(folder, str(number)), base)
            found += bool(told["missed"])
            rows = ", ".join(cell.split("/")[1] for cell in told["missed"]) or told["error"]
            lines.append(f"| {bug.name} | {'yes' if told['missed'] else 'no'} | {rows} | {told['seconds']:.0f} |")
            print(lines[-1], flush=True)
            shutil.rmtree(Path(folder, str(number)))
        lines += ["", f"{found} of {len(bugs)} are found."]
        print("\n".join(lines[-2:]))
    if chosen.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        table = "\n".join(lines)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0 if found >= 0.9 * len(bugs) else 1


def tried(bug: Bug | None, folder: Path, base: Path | None) -> dict[str, Any]:
    """Run the jobs in a copy of the checkout with the bug; `missed`: rows that fail, `error`, `seconds` of the CPU."""
    for name in _TRACKED:
        place = REPOSITORY / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place, folder / name)
    if base is not None:
        # linked: a job writes a new file in the place of an old one, and never into it
        shutil.copytree(base, folder / "results" / "miniature", copy_function=os.link, dirs_exist_ok=True)
    if bug is not None:
        path = folder / PACKAGE / bug.file
        text = path.read_text(encoding="utf-8")
        if text.count(bug.old) != 1:
            raise SystemExit(f"{bug.name}: {bug.file} has {text.count(bug.old)} times: {bug.old}")
        path.write_text(text.replace(bug.old, bug.new), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder / "workflow" / "lib"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--jobs"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ends without a word"])[-1]
        return {"missed": {}, "error": f"stops: {last[:100]}", "seconds": 0.0}
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def run_jobs() -> dict[str, Any]:
    """Do the jobs behind the table in this process, in a copy of the checkout that is the working directory: those
    whose settings, code or inputs are not those of the files that are there."""
    from utopia.config.load import load
    from utopia.plan.expectations import outcome
    from utopia.plan.plan import Plan
    from utopia.provenance.values import run_script

    plan = Plan(load(SETTINGS))
    changed: set[str] = set()
    for job in plan.jobs:
        if job.rule in ("report_coverage", "render_page"):
            continue
        params = plan.params(job.rule, job.names)
        first = Path(f"{job.made()[0]}.record.json")
        known = json.loads(first.read_text(encoding="utf-8"))["params"] if first.is_file() else None
        if known == json.loads(json.dumps(params)) and changed.isdisjoint(job.read()):
            continue
        before = {path: _content(path) for path in job.made()}
        status = run_script(
            {
                "script": f"workflow/scripts/{plan_script(job.rule)}.py",
                "folder": ".",
                "rule": job.name,
                "wildcards": job.wildcards,
                "params": params,
                "input": job.inputs,
                "output": job.outputs,
                "log": [],
                "threads": 1,
                "config": {},
            }
        )
        if status:
            sys.exit(status)
        changed |= {path for path in job.made() if _content(path) != before[path]}
    return {"missed": outcome(plan.root / "tables").missed, "error": "", "seconds": time.process_time()}


def plan_script(rule: str) -> str:
    """The script of a rule."""
    from utopia.plan.rules import RULES

    return RULES[rule].script


def _content(path: str) -> Any:
    """What tells a file from another one of its name; a folder always counts as new."""
    return Path(path).read_bytes() if Path(path).is_file() else object()


if __name__ == "__main__":
    sys.exit(main())
