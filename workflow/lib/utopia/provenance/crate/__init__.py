"""A finished study as a Workflow Run RO-Crate (profile Provenance Run Crate 0.5), and the check of such a crate.

`content` says what goes in, `privacy` what must not, `describe` writes the metadata, `build` the folder or zip;
`extract` unpacks a crate that others made, `agreement` says what in it contradicts itself, `check`
computes again too.
"""
