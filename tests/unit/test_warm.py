"""Commands in forks: what they are given, what they say, and whose code they run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import warm
from checkout import environment

SAYS = """\
import json, os, sys

import utopia

print(json.dumps({"from": utopia.__file__, "words": sys.argv[1:], "cwd": os.getcwd(), "variables": dict(os.environ)}))
print("and more", file=sys.stderr)
sys.exit(3)
"""


def test_a_command_is_given_a_folder_words_and_variables_and_runs_the_folder_s_code(tmp_path: Path) -> None:
    package = tmp_path / "workflow" / "lib" / "utopia"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "says.py").write_text(SAYS)
    given = environment(tmp_path) | {"ONE": "a value"}
    for _ in range(2):  # the first leaves nothing to the second
        done = warm.run("says", "--word", "two words", cwd=tmp_path, env=given)
        assert (done.returncode, done.stderr) == (3, "and more\n")
        said = json.loads(done.stdout)
        assert Path(said["from"]).parent == package and Path(said["cwd"]) == tmp_path
        assert said["words"] == ["--word", "two words"] and said["variables"] == given


def test_what_hangs_is_ended_and_what_comes_after_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(600)\n")
    (tmp_path / "fails.py").write_text("raise ValueError('as it is')\n")
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run("hangs", cwd=tmp_path, env={}, timeout=0.5)
    done = warm.run("fails", cwd=tmp_path, env={})
    assert done.returncode == 1 and "ValueError: as it is" in done.stderr
