"""Losses. One file each: `Config` and `build(config) -> Loss`; the contract is in `_common`."""
