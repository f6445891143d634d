"""A data set of random features and smooth labels, in the engine's own files, for the benchmarks."""

from utopia.training.trial import BINS
from utopia.training.trial import RandomStudy as Study

__all__ = ["BINS", "Study"]
