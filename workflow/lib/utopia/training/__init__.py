"""The training engine: one job trains all replicas (targets x folds x repeats) of a run.

Read in this order: `settings` (what a run is), `replica` (identity and random streams), `data` (what it is fed),
`chunks` (packed videos with weights and samples), `selection` (which epoch counts), `fit` (one replica), `store`
(checkpoints, resume), `run` (the job).
"""
