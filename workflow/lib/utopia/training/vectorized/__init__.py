"""The strategy `vectorized`: many replicas at once as one network, for GPUs, where the number of kernels decides.

`engine` holds replicas and moves them on, round by round; `stack` makes K networks one and is their optimiser; `passes`
takes a chunk of each replica through it, on the padded batches of `batch`. A model needs nothing for it besides layers
of `models._layers`. Nobody who reads how a replica is trained (`training.loop`) needs these modules: they compute the
same numbers, up to rounding.
"""
