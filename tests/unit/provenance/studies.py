"""What tests of a finished study share: how it is made, read, audited and forged."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import warm
from checkout import copy_tracked, environment

from utopia import files
from utopia.cli.main import main
from utopia.config.load import load
from utopia.plan.plan import Plan
from utopia.provenance.current import Current
from utopia.provenance.findings import Report
from utopia.provenance.job import sealed
from utopia.provenance.ledger import Ledger
from utopia.provenance.lineage import Graph
from utopia.provenance.replay import replay
from utopia.provenance.verify import verify

TINY = """\
repeats: 2
generated:
  seconds_of: {pmemo: 8}
  items: {eev: 0, liris: 0, planted_effects: 0, planted_reactions: 0, pmemo: 6, summe: 0, tvsum: 0}
models:
  et: {training: {epochs: 3}}
  pgl_sum: {training: {epochs: 3, selection: last}}
  rmn: {training: {epochs: 2}}
"""
ROOT = "results/miniature"
PATIENCE = 7200
"""Seconds after which a command hangs: how long one takes depends on what else the machine does."""
TARGETS = (
    f"{ROOT}/tables/ulda_table_7.csv",
    f"{ROOT}/figures/beyond_distribution_pmemo.pdf",
    f"{ROOT}/figures/beyond_error_by_label_pmemo.pdf",
    f"{ROOT}/audit/coverage.csv",
)
"""What is made of it: of a study that lacks all of its data sets but one, as most people's do."""
_WHOLE = "tables: [ulda_table_7]\nfigures: [beyond_distribution_pmemo, beyond_error_by_label_pmemo]\n"
"""The same as a study that asks for no more, so that it is made whole, with its page."""


def made(folder: Path, *, whole: bool = False) -> Path:
    """A copy of the checkout in which the study was made, from nothing, by Snakemake.

    Raises:
        RuntimeError: it cannot be made.
    """
    copy_tracked(Path(__file__).resolve().parents[3], folder)
    (folder / "tiny.yaml").write_text(TINY + (_WHOLE if whole else ""), encoding="utf-8")
    words = ["--cores", "2", "--configfile", "tiny.yaml", *([] if whole else ["--", *TARGETS])]
    done = warm.run("snakemake", *words, cwd=folder, env=environment(folder), timeout=PATIENCE)
    if done.returncode:
        raise RuntimeError(f"the small study cannot be made:\n{done.stdout}{done.stderr}")
    return folder


@dataclass(frozen=True)
class Small:
    """The small study's working directory."""

    folder: Path
    is_whole: bool = False
    """Whether everything was made that it asks for."""

    @property
    def partially(self) -> list[str]:
        """What commands are told of a study that was made in part."""
        return [] if self.is_whole else ["--partial"]

    @property
    def environment(self) -> dict[str, str]:
        """The copy's package comes before the installed one."""
        return environment(self.folder)

    def path(self, name: str) -> Path:
        """A file below the study's folder."""
        return self.folder / ROOT / name

    def graph(self) -> Graph:
        """The lineage as it is now."""
        return Graph(Ledger.read(self.folder / ROOT, base=self.folder), ROOT)

    def verify(self, **options: Any) -> Report:
        """Audit in this process; figures are drawn again only where that is asked for, because it takes long."""
        graph, options = self.graph(), {"partial": not self.is_whole, "pictures": False} | options
        current = Current(planned(self.folder / "tiny.yaml"), graph)
        return verify(graph, self.folder / ROOT, "miniature", current=current, **options)

    def utopia(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the copy's own package."""
        return warm.run("utopia.cli.main", *arguments, cwd=self.folder, env=self.environment, timeout=PATIENCE)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in this process, as if this folder were its checkout: a start less.

        Not for edited code, nor for a command that starts Snakemake.
        """
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr("utopia.config.load.REPOSITORY", self.folder)
            patch.chdir(self.folder)
            try:
                code = main(arguments)
            except SystemExit as end:  # of the parser of options
                code = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    # -- damage

    def record_of(self, name: str) -> Path:
        """The record that describes a file."""
        return self.graph().makers[f"{ROOT}/{name}"].path

    def edit_record(self, name: str, change: Callable[[dict[str, Any]], Any], *, reseal: bool = True) -> None:
        """Change the record that describes a file; `reseal` gives it the digest that fits."""
        path = self.record_of(name)
        facts = json.loads(path.read_text())
        change(facts)
        files.write_json(path, sealed(facts) if reseal else facts)

    def remake(self, name: str) -> None:
        """Make a file, and what else its job makes, again from the files as they are, with records that agree."""
        graph = self.graph()
        with tempfile.TemporaryDirectory() as folder:
            made = replay(graph.makers[f"{ROOT}/{name}"], graph.ledger.portable, Path(folder))
            for path, file in made.items():
                self.forge(path.removeprefix(f"{ROOT}/"), file.read_bytes())

    def forge(self, name: str, content: bytes) -> None:
        """Replace a file and make every record agree: that of its maker and those of its readers."""
        self.path(name).write_bytes(content)
        sha256, text = hashlib.sha256(content).hexdigest(), f"{ROOT}/{name}"
        for path in (self.folder / ROOT).rglob("*.record.json"):
            facts = json.loads(path.read_text())
            hit = False
            for entry in [*facts["inputs"], *facts["outputs"]]:
                for one in (entry, *entry.get("files", ())):
                    if one["path"] == text:
                        one["sha256"], one["bytes"], hit = sha256, len(content), True
            if hit:
                files.write_json(path, sealed(facts))


_plans: dict[bytes, Plan] = {}


def planned(configfile: Path) -> Plan:
    """The plan for a configuration file, made once for its content: it does not depend on where the study lies."""
    content = configfile.read_bytes()
    if content not in _plans:
        _plans[content] = Plan(load(files=[configfile]))
    return _plans[content]


def flip(path: Path, at: int | None = None) -> None:
    """Change one bit of a file, and leave its size and its times as they were."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
