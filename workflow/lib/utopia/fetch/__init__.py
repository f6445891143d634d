"""Getting what may be got: published files over HTTP(S), web videos by id, data under a signed agreement."""
