"""Downloading what can be downloaded: published files over HTTP(S), web videos by id, data under a signed agreement."""
