"""A place of the stack: the replica that holds it, until its outcome is taken."""

from __future__ import annotations

from dataclasses import dataclass, field

from utopia.errors import ComputeError
from utopia.training.adam import Adam
from utopia.training.store import Keeper
from utopia.training.trainee import Fitted, Trainee


@dataclass
class Place:
    """A replica in training and where it is in its epoch."""

    trainee: Trainee
    keeper: Keeper | None
    of_loss: Adam
    order: list[int] = field(default_factory=list)
    """Chunks that are left in this epoch."""
    failed: ComputeError | None = None
    told: bool = False
    """Whether its outcome was taken."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do here."""
        return self.failed is not None or self.trainee.is_over

    def outcome(self) -> Fitted | ComputeError:
        """The trained replica, or why there is none."""
        try:
            return self.failed or self.trainee.result()
        except ComputeError as error:
            return error
