"""Pages of the documentation that are followed to the letter: their files are written, their commands run."""

from __future__ import annotations

import re
import subprocess
from typing import NamedTuple

from whole import Checkout

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(?:#|\.\.) (\S+|add to config\.yaml)$")


class Block(NamedTuple):
    """A fenced block of the page; `path` is empty where its first line names none."""

    language: str
    path: str
    text: str


def blocks(page: str) -> list[Block]:
    found = []
    for language, text in BLOCK.findall(page):
        first, _, rest = text.partition("\n")
        named = COMMENT.match(first)
        found.append(Block(language, named[1], rest) if named else Block(language, "", text))
    return found


def add_to_config(config: str, more: str) -> str:
    """Put the lines below each top-level key of `more` below the same key of the configuration, as a reader would."""
    for section in re.split(r"^(?=\w)", more, flags=re.MULTILINE)[1:]:
        key, _, lines = section.partition("\n")
        assert f"\n{key}\n" in config, f"config.yaml has no section {key}"
        config = config.replace(f"\n{key}\n", f"\n{key}\n{lines}", 1)
    return config


def follow(page: list[Block], checkout: Checkout, more: str = "") -> str:
    """Write every file, add what is to be added, and run every `sh` command (with `more` behind those of utopia).

    All in the page's order; blocks of `bash` are for other machines. Returns what the commands said.
    """
    said = ""
    for block in page:
        if block.language == "sh":
            for command in block.text.splitlines():
                if command.startswith("utopia "):
                    command += more
                done = subprocess.run(
                    ["bash", "-c", command],
                    cwd=checkout.folder,
                    env=checkout.environment,
                    capture_output=True,
                    text=True,
                )
                said += f"$ {command}\n{done.stdout}{done.stderr}"
                assert done.returncode == 0, said
        elif block.language == "bash":
            continue
        elif block.path == "add to config.yaml":
            config = checkout.folder / "config.yaml"
            config.write_text(add_to_config(config.read_text(), block.text))
        else:
            path = checkout.folder / block.path
            assert not path.exists(), f"{block.path} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    return said
