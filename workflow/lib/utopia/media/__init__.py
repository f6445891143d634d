"""Decoding and sampling of video and sound, and the log-mel front end."""
