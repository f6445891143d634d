"""Settings of who labels and who judges: which annotators' votes a run is trained on, and whose judge it."""

from __future__ import annotations

from pydantic import Field

from utopia.config.base import Strict


class Labelling(Strict):
    """Which annotators make a run's training labels and which judge it, drawn for each item. Needs single votes."""

    annotators: int | None = Field(None, ge=1, le=1000)
    """Make the training label from this many annotators, of those who do not judge. Null: from all of them."""
    judges: int = Field(0, ge=0, le=1000)
    """How many annotators are held out of every training label: the mean of their votes judges. 0: nobody is, and the
    label that judges is the data set's own (that of all annotators, or the planted truth)."""
    folds: int | None = Field(None, ge=2, le=1000)
    """Test the items of several folds together, so that there are no more than this many. Null: as they are."""
