"""The feature store where several jobs write to it at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from utopia import arrays
from utopia.features import store as objects

WRITERS, SHARED, OWN = 16, 6, 2
WRITE = f"""
import sys
from pathlib import Path
import numpy as np
from utopia.features import store

folder, writer = Path(sys.argv[1]), int(sys.argv[2])
sys.stdin.readline()  # all begin together
for number in [*range({SHARED}), *(100 * (1 + writer) + n for n in range({OWN}))]:
    identity = {{"item": str(number)}}
    rows = np.full((400, 64), number, np.float32)
    store.put(store.place(folder, identity), folder, rows, np.arange(400.0), identity)
"""


def test_sixteen_processes_on_one_store_lose_no_row(tmp_path: Path) -> None:
    """All write the same objects, and each some of its own; every one is whole afterwards, and nothing else is left."""
    folder = tmp_path / "features" / "store"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(folder), str(writer)], stdin=subprocess.PIPE, text=True)
        for writer in range(WRITERS)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.close()
    assert [writer.wait(timeout=120) for writer in writers] == [0] * WRITERS
    numbers = [*range(SHARED), *(100 * (1 + writer) + n for writer in range(WRITERS) for n in range(OWN))]
    expected = {objects.place(folder, {"item": str(number)}): number for number in numbers}
    assert {path for path in folder.rglob("*") if path.is_file()} == expected.keys()
    for path, number in expected.items():
        assert objects.entry(path, folder) is not None
        stored = arrays.load(path)
        assert stored["features"].shape == (400, 64) and np.all(stored["features"] == number)
