"""What the rows B and E of the drill ask: commands about what is right, or was made right again, and the signature."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

import warm
from forgeries import CSV, TABLE, rewrite_host
from studies import PATIENCE, TARGETS, Small, flip


def told(study: Small, *words: str, files: tuple[str, ...] = ("tiny.yaml",)) -> dict[str, Any]:
    """What a command of the copy's own package says, as JSON."""
    given = [word for file in files for word in ("--configfile", file)]
    done = study.utopia(*words[:1], *given, "--json", *words[1:])
    if not done.stdout:
        return {"error": done.stderr}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def snakemake_would(study: Small) -> list[str]:
    """The jobs that Snakemake would run for what was made."""
    targets = [] if study.is_whole else ["--", *TARGETS]
    words = ["-n", "--quiet", "rules", "--configfile", "tiny.yaml", *targets]
    done = warm.run("snakemake", *words, cwd=study.folder, env=study.environment, timeout=PATIENCE)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "would run" in line or "Error" in line]
    return [line for line in said if not line.startswith("0 ")] if done.returncode == 0 else said or ["it fails"]


def lose_times(study: Small) -> None:
    """As a copy has them: what was made first is the youngest."""
    now = time.time()
    for number, record in enumerate(reversed(study.graph().ledger.records)):
        for path in study.graph().made(record):
            os.utime(study.folder / path, (now - 1000 + number, now - 1000 + number))
    for stamp in study.path("").rglob(".snakemake_timestamp"):
        os.utime(stamp, (now, now))


def adopted(study: Small) -> list[str]:
    lose_times(study)
    answer = told(study, "adopt")
    wrong = [f"{path}: {why}" for path, why in answer["refused"].items() if study.is_whole or "no record" not in why]
    return [*wrong, *snakemake_would(study)]


def adopted_though_changed(study: Small) -> list[str]:
    lose_times(study)
    flip(study.path(f"figures/{DRAWN}.csv"), -3)
    return [f"{path}: {why}" for path, why in told(study, "adopt")["refused"].items() if DRAWN in path]


DRAWN = "beyond_distribution_pmemo"


def date_in_the_future(study: Small) -> None:
    later = time.time() + 86_400
    os.utime(study.path("runs/pmemo.et.baseline/metrics.csv"), (later, later))


def future_seen(study: Small) -> list[str]:
    date_in_the_future(study)
    return list(told(study, "status")["times"]["future"])


def future_refused(study: Small) -> list[str]:
    date_in_the_future(study)
    done = study.utopia("run", "--dry-run")
    return [line for line in done.stderr.splitlines() if "future" in line] if done.returncode else []


def future_mended(study: Small) -> list[str]:
    date_in_the_future(study)
    told(study, "adopt")
    return [*told(study, "status")["times"]["future"], *snakemake_would(study)]


def other_data_sets(study: Small) -> list[str]:
    """Data sets that a study of one table would read although the table does not show them."""
    (study.folder / "one.yaml").write_text(f"tables: [{TABLE}]\nfigures: []\nresults: other\n")
    answer = told(study, "plan", files=("one.yaml",))
    rules = {each["rule"]: each["count"] for each in answer["jobs"]["rules"]}
    extra = [f"{rule}: {rules[rule]} jobs" for rule in ("list_inputs", "build_labels") if rules.get(rule) != 1]
    return extra + [rule for rule in rules if any(f"_{name}_" in rule for name in ("liris", "summe", "tvsum", "eev"))]


def seeds_unused(study: Small) -> list[str]:
    """Rules that draw random numbers and would not run again with another seed."""
    (study.folder / "more.yaml").write_text("seed: 1")
    answer = told(study, "plan", files=("tiny.yaml", "more.yaml"))
    rules = {each["rule"].partition("_pmemo")[0] for each in answer["jobs"]["rules"]}
    return sorted({"generate_miniature", "extract_features", "train"} - rules)


def without_reason(study: Small) -> list[str]:
    """Rules whose jobs `plan` gives no reason for."""
    (study.folder / "more.yaml").write_text("repeats: 3")
    rules = told(study, "plan", files=("tiny.yaml", "more.yaml"))["jobs"]["rules"]
    assert any(each["rule"].startswith("train") for each in rules), "nothing of a group would run"
    # A job may have more than one reason.
    return [each["rule"] for each in rules if sum(each["reasons"].values()) < each["count"]]


# -- E. Signature


def signed(study: Small) -> list[str]:
    """Whether a fresh signature holds."""
    answer = _sign(study)
    return [] if answer.get("agrees") else [str(answer)]


def signed_then_changed(study: Small) -> list[str]:
    assert not signed(study)
    rewrite_host(study)
    return [] if told(study, "sign", "--check")["agrees"] else ["the records are not those that were signed"]


def signed_unsound(study: Small) -> list[str]:
    flip(study.path(CSV))
    return [_sign(study).get("error", "").splitlines()[0]]


def _sign(study: Small) -> dict[str, Any]:
    key = study.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    answer = told(study, "sign", "--key", str(key))
    return answer if "error" in answer else told(study, "sign", "--check")
