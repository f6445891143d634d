"""Where the words of a job go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from utopia.provenance.capture import captured


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_log_never_overwrites_what_a_link_leads_to(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    elsewhere, log = tmp_path / "elsewhere", tmp_path / "r.log"
    elsewhere.write_text("mine")
    link(log, elsewhere)
    with captured(log) as capture:
        capture.write("said")
    assert (elsewhere.read_text(), log.read_text()) == ("mine", "said")
