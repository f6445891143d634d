"""The code of a job: what its fingerprint covers, and what it has really loaded."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from utopia import fingerprint

_MACHINERY = "utopia.provenance.job"


class JobCode:
    """The closure of a job's modules, taken when it starts: a file that is edited while it runs is not what it runs.

    Args:
        planned: the rule's parameter `code`: what `fingerprint.code` gives, or a bare fingerprint, or None.
    """

    def __init__(self, planned: Any) -> None:
        given = planned if isinstance(planned, Mapping) else {"fingerprint": planned}
        self.planned: str | None = given["fingerprint"]
        self.roots: list[str] | None = given.get("roots")
        self.files: list[str] = list(given.get("files", ()))
        self._modules = None if self.roots is None else self._closure(self.roots)

    @property
    def edited_since_planned(self) -> bool:
        """Whether the code differs from what the workflow planned the job with: the job will be run again."""
        return self._modules is not None and fingerprint.digest_of(self._modules) != self.planned

    def facts(self) -> dict[str, Any]:
        """`{fingerprint, planned, roots, files, modules, undeclared}`.

        `fingerprint` is that of `modules`, the closure of `roots` and `files`; `planned` is what the workflow had when
        it planned the job. `undeclared` are modules that the job has loaded although the fingerprint does not cover
        them. Where the workflow gave no roots, they are the modules that were loaded. The recording machinery
        determines no result and is left out.
        """
        machinery = fingerprint.closure(_MACHINERY)
        loaded = {name for name in sys.modules if name == "utopia" or name.startswith("utopia.")} - set(machinery)
        roots = sorted(loaded) if self.roots is None else self.roots
        modules = self._closure(roots) if self._modules is None else self._modules
        return {
            "fingerprint": fingerprint.digest_of(modules),
            "planned": self.planned,
            "roots": roots,
            "files": self.files,
            "modules": modules,
            "undeclared": sorted(loaded - set(modules)),
        }

    def _closure(self, roots: list[str]) -> dict[str, str]:
        return fingerprint.closure(*roots, files=[fingerprint.file_of(name) for name in self.files])
