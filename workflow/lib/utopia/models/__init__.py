"""Models. One file each: `Config`, which nests the training recipe, and `build(config, d_in, activation)`."""
