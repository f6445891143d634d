"""Generated data sets that are one file of arrays: where it is, what is in it, and what to do where it is not.

Their features are drawn directly, so there are no videos; nobody publishes them, so there is nothing to fetch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from utopia import arrays
from utopia.datasets import _card, _common
from utopia.datasets._common import Item, Located
from utopia.errors import InputError


class Drawn(NamedTuple):
    """The file of a generated data set."""

    dataset: str
    file: str
    """Its name."""
    remedy: str
    """What to do where it, or something in it, is missing."""

    def locate(self, folder: Path, options: Any) -> Located:
        """The file below the folder; there are no videos."""

        def choose(files: tuple[Path, ...], items: Sequence[_card.CardItem]) -> dict[str, tuple[Path, ...]]:
            return {"annotations": tuple(path for path in files if path.name == self.file)}

        remedies = {
            "annotations": f"no {self.file} below {folder}: {self.remedy}",
            "videos": f"no videos below {folder}: the features of this data set are drawn directly",
        }
        return _common.assemble(self.dataset, folder, choose, remedies)

    def items(self, located: Located, options: Any) -> list[Item]:
        """All series, by their number; each with the one file."""
        files = {role: paths[0] for role, paths in located.files.items()}
        return [Item(entry.id, entry.name, entry.key, dict(files)) for entry in located.items]

    def folds(self, located: Located, ids: Iterable[str], options: Any) -> list[dict[str, Any]]:
        """The one fold of the card."""
        return _common.restricted_folds(located, ids)

    def read(self, item: Item) -> arrays.Arrays:
        """The file's arrays.

        Raises:
            InputError: there is no file, or it cannot be read.
        """
        if "annotations" not in item.files:
            raise InputError(f"no {self.file}", remedy=self.remedy)
        return arrays.load(item.files["annotations"])
