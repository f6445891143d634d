"""Utopia: reproduces two papers on subjective time-series regression, with the lineage of every number."""

import os

__version__ = "0.1.0"

# HDF5 refuses to open a sound file where the file system has no locks (NFS, Lustre). Nothing here is written twice.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
