"""Utopia: reproduces two papers on subjective time-series regression, with the lineage of every number."""

__version__ = "0.1.0"
