"""The training engine: one job trains all replicas (targets x folds x repeats) of some runs.

To see how a replica is trained, read `loop`: the plain loop, on one screen. Around it, in this order: `settings` (what
a run is), `replica` (identity and random streams), `data` and `clip_data` (what it is fed), `chunks` (videos with
weights and samples), `custom_learner` (of models that learn otherwise), `trainer` (what a replica needs besides the
loop) with its two training modes, `series` (whole ones) and `clips`, `selection` (which epoch counts), `checkpoints`
(storing and resuming), `run` (the job), `workers` (its processes on a CPU). `vectorized` does what `loop` does for many
replicas at once.
"""
