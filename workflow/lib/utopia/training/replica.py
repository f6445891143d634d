"""A replica: one training of a model, for one target, fold and repeat; and the random streams that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from utopia import seeds
from utopia.training.settings import RunSettings


@dataclass(frozen=True)
class Replica:
    """One training."""

    target: str
    fold: str
    repeat: int
    member: int = 0
    """Its number in an ensemble."""
    fit_on_all: bool = False
    """Whether it is trained on the validation videos too, to predict items that have no labels."""

    @property
    def name(self) -> str:
        """`<target>.<fold>.<repeat>`, as in the name of its checkpoint; further members of an ensemble add theirs."""
        return f"{self.target}.{self.fold}.{self.repeat}" + (f".{self.member}" if self.member else "")

    @property
    def place(self) -> str:
        """`<target>/<fold>/<repeat>`, where its predictions are; members share it."""
        return f"{self.target}/{self.fold}/{self.repeat}"

    def seed(self, run: RunSettings) -> int:
        """The seed from which all random numbers of this replica derive.

        The treatment and other settings are no part of it. So runs that differ in nothing but the treatment start from
        the same parameters, see the videos in the same order and drop the same units, as long as they draw as many
        numbers (common random numbers): their difference varies less than that of independent runs, while each run
        alone is as random as before.
        """
        member = (self.member,) if self.member else ()  # the first one starts as a replica without an ensemble does
        return seeds.derive(run.seed, run.dataset, run.model, self.target, self.fold, self.repeat, *member)

    def stream(self, run: RunSettings, purpose: str) -> int:
        """The seed of one of its streams (`parameters`, `order`, `dropout`, `samples`, `loss`), all independent."""
        return seeds.derive(self.seed(run), purpose)

    def hold_out(self, run: RunSettings, train: Sequence[str], share: float) -> tuple[list[str], list[str]]:
        """Split training videos into those fitted to and those held out for early stopping.

        The share with the smallest hash under this data set, fold and repeat is held out, at least one video: the same
        ones for every target, model and treatment, and hardly different ones if a video is missing.
        """
        ranked = sorted(
            train, key=lambda item: seeds.derive(run.seed, run.dataset, "validation", self.fold, self.repeat, item)
        )
        out = set(ranked[: max(1, round(share * len(train)))]) if share > 0 else set()
        return [item for item in train if item not in out], [item for item in train if item in out]
