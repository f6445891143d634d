"""Samplers. One file each: `Config` and `build(config, videos, target_R, device) -> Sampler`; the contract is in
`_common`.
"""
