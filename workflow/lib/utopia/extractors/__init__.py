"""Networks that turn decoded frames or sound into features, one file each."""
