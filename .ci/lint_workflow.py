"""`snakemake --lint`, less the complaints that do not hold here. Exit code 1 where another one is left."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ALLOWED = {
    r"Specify a conda environment or container for each rule\.": "one locked environment holds for all rules (envs/)",
    r"Environment variable UTOPIA_STUDY_FOLDER used but not asserted .*": "the workflow sets it itself, for its jobs",
}


def complaints(text: str) -> list[tuple[str, str]]:
    """Where and what, for each complaint."""
    found, where = [], ""
    for line in text.splitlines():
        if place := re.match(r"Lints for (.+):$", line):
            where = place[1]
        elif complaint := re.match(r" {4}\* (.+?):?$", line):
            found.append((where, complaint[1]))
    return found


def main() -> int:
    """Run the linter and judge what it says."""
    snakemake = Path(sys.executable).parent / "snakemake"
    done = subprocess.run([snakemake, "--lint"], capture_output=True, text=True)
    text = done.stdout + done.stderr
    found = complaints(text)
    if done.returncode and not found:
        print(text, file=sys.stderr)
        return done.returncode
    allowed = {pattern for pattern in ALLOWED for _, what in found if re.fullmatch(pattern, what)}
    left = [f"{where}: {what}" for where, what in found if not any(re.fullmatch(pattern, what) for pattern in ALLOWED)]
    unused = [f"no longer needed in {Path(__file__).name}: {pattern}" for pattern in ALLOWED.keys() - allowed]
    for line in [*left, *unused]:
        print(line, file=sys.stderr)
    print(f"snakemake --lint: {len(found)} complaints, {len(left)} that hold here")
    return 1 if left or unused else 0


if __name__ == "__main__":
    sys.exit(main())
