"""Why a job ended on a cluster that ended it: over its memory or time, cancelled, lost with its node, refused.

Such a job cannot say so itself. SLURM says it, half in the job's state and half in the job's output, in words that
differ with its version and with how it watches memory; both are read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from utopia.provenance.failures import signalled, tail

_LINES = 60
_MEGABYTE = 2**20


class ClusterCause(NamedTuple):
    """Why the cluster ended a job, and what to do."""

    what: str
    remedy: str
    refused: bool = False
    """Whether the job was not even taken."""


_KINDS = (
    (
        r"exceeded (?:job )?memory limit|oom[-_ ]?kill|'OUT_OF_MEMORY'",
        "killed by SLURM: over its memory",
        "give it more: --set-resources RULE:mem_mb=MEGABYTES",
    ),
    (
        r"DUE TO TIME LIMIT|'TIMEOUT'|'DEADLINE'",
        "killed by SLURM: over its time",
        "give it more: --set-resources RULE:runtime=MINUTES (a training goes on where it was ended)",
    ),
    (
        r"DUE TO NODE FAILURE|'NODE_FAIL'|'BOOT_FAIL'",
        "lost with its node",
        "run the same command again; if nodes go on failing, tell the cluster's operators (sinfo -R)",
    ),
    (r"DUE TO PREEMPTION|'PREEMPTED'", "ended by SLURM for a job that goes before it", "run the same command again"),
    (
        r"'CANCELLED|CANCELLED AT \S+ \*\*\*",
        "cancelled on the cluster (scancel), by you or its operators",
        "run the same command again",
    ),
)
_REFUSED = re.compile(r"sbatch failed. The error message was '(?:sbatch: error: )?(.+?)'\.", re.DOTALL)


def cause(said: str, logs: Iterable[str | Path] = ()) -> ClusterCause | None:
    """Why the cluster ended a job; None if it has not, or does not say.

    Args:
        said: what Snakemake's executor said about the job's end.
        logs: the files with the job's output on the cluster.
    """
    refused = _REFUSED.search(said)
    if refused:
        why = refused[1].strip().splitlines()[0].replace("Batch job submission failed: ", "")
        return ClusterCause(
            f"SLURM does not take the job: {why}",
            "ask for what the cluster has (--set-resources), or name another partition or account (SBATCH_PARTITION, "
            "SBATCH_ACCOUNT; docs/clusters.md)",
            refused=True,
        )
    text = "\n".join([said, *(line for log in logs for line in tail(log, _LINES))])
    for pattern, what, remedy in _KINDS:
        if re.search(pattern, text, re.IGNORECASE if "memory" in what else 0):
            return ClusterCause(what + _amount(what, text), remedy)
    ended = signalled(text)
    return ClusterCause(*ended) if ended and "(SIGKILL)" in ended[0] else None


def _amount(what: str, text: str) -> str:
    if "memory" in what and (match := re.search(r"memory limit \((\d+) > (\d+)\)", text)):
        used, limit = (int(value) / _MEGABYTE for value in match.groups())
        return f" ({used:.0f} MB, and {limit:.0f} were asked for)"
    if "time" in what and (match := re.search(r"\bruntime=(\d+)", text)):
        return f" ({match[1]} min)"
    return ""
