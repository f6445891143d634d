"""The container for arrays: what goes in comes out, byte for byte the same file, and damage is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import SafetensorError

from utopia import arrays
from utopia.errors import InputError
from utopia.files import sha256

DTYPES = [
    "float32",
    "float64",
    "float16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
]

some_array = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
some_meta = st.dictionaries(st.text(), st.integers() | st.text(), max_size=3)
names = st.text(st.sampled_from("abc_/01é"), min_size=1, max_size=8)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(names, some_array, max_size=4), st.dictionaries(st.text(), st.integers() | st.text(), max_size=3)
)
def test_what_goes_in_comes_out(tmp_path_factory, content: dict, meta: dict) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.safetensors"
    arrays.save(path, content, meta)
    read = arrays.load(path)
    assert read.meta == meta
    assert list(read) == sorted(content)
    assert len(read) == len(content)
    for name, array in content.items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        np.testing.assert_array_equal(read[name], array)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    one = {"b": np.arange(3), "a/x": np.eye(2, dtype=np.float32)}
    arrays.save(tmp_path / "1", one, {"k": 1, "j": [2]})
    arrays.save(tmp_path / "2", dict(reversed(one.items())), {"j": [2], "k": 1})
    assert sha256(tmp_path / "1") == sha256(tmp_path / "2")
    arrays.save(tmp_path / "3", one, {"k": 1, "j": [3]})
    assert sha256(tmp_path / "1") != sha256(tmp_path / "3")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4).T,
        np.arange(10)[::-2],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.broadcast_to(np.float32(2.5), (3, 2)),
        np.arange(4, dtype=">i4"),
        np.array(7.5),
    ],
    ids=["transposed", "strided", "fortran", "broadcast", "big-endian", "scalar"],
)
def test_arrays_in_any_memory_layout(tmp_path: Path, array: np.ndarray) -> None:
    arrays.save(tmp_path / "a", {"x": array})
    read = arrays.load(tmp_path / "a")["x"]
    assert read.shape == array.shape
    np.testing.assert_array_equal(read, array)


def test_a_read_array_is_a_copy_of_its_own(tmp_path: Path) -> None:
    arrays.save(tmp_path / "a", {"x": np.zeros(3)})
    file = arrays.load(tmp_path / "a")
    file["x"][0] = 5.0
    assert file["x"][0] == 0.0


def test_names_below_a_prefix(tmp_path: Path) -> None:
    content = {"movie_1/valence": np.arange(2), "movie_1/times": np.arange(3), "movie_10/valence": np.arange(4)}
    arrays.save(tmp_path / "a", content)
    file = arrays.load(tmp_path / "a")
    assert sorted(file.under("movie_1")) == sorted(file.under("movie_1/")) == ["times", "valence"]
    assert file.under("movie") == {}
    assert "movie_1/times" in file
    assert "movie_1" not in file


def test_an_unknown_name_says_which_file(tmp_path: Path) -> None:
    arrays.save(tmp_path / "a", {"x": np.zeros(1)})
    with pytest.raises(KeyError, match=r"a has no array 'y'"):
        arrays.load(tmp_path / "a")["y"]


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "missing", "folder"])
def test_damage_is_said_with_the_remedy(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.safetensors"
    arrays.save(path, {"x": np.arange(1000)}, {"k": 1})
    if damage == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "text":
        path.write_text("not arrays at all, but long enough to have a header")
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
    with pytest.raises(InputError) as caught:
        arrays.load(path)
    assert str(path) in str(caught.value)
    assert "run the same command again" in str(caught.value)


def test_values_that_cannot_be_stored_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(SafetensorError, match="object"):
        arrays.save(tmp_path / "a", {"x": np.array([object()])})
    with pytest.raises(ValueError, match="not JSON compliant"):
        arrays.save(tmp_path / "a", {}, {"x": float("nan")})
    assert listing(tmp_path) == []


def test_a_file_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import resource, sys\nimport numpy as np\nfrom utopia import arrays\nfrom utopia.errors import UtopiaError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: arrays.save(sys.argv[1], {'x': np.zeros(1000)})\n"
        "except UtopiaError as error: print(error)\n"
    )
    path = tmp_path / "a.safetensors"
    out = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True).stdout
    assert f"{path}: cannot write (File too large)" in out
    assert "free disk space" in out
    assert listing(tmp_path) == []


def test_a_file_of_another_program_is_read(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.arange(3)}, str(tmp_path / "a"))
    file = arrays.load(tmp_path / "a")
    assert file.meta == {}
    assert file["x"].tolist() == [0, 1, 2]


class TestWriter:
    """Array by array gives the file that `save` writes at once."""

    @settings(deadline=None)
    @given(content=st.dictionaries(names, some_array, max_size=6), meta=some_meta, random=st.randoms())
    def test_the_same_bytes_in_whatever_order(
        self, tmp_path_factory: pytest.TempPathFactory, content: dict, meta: dict, random: Random
    ) -> None:
        folder = tmp_path_factory.mktemp("writer")
        arrays.save(folder / "whole", content, meta)
        order = list(content)
        random.shuffle(order)
        with arrays.Writer(folder / "piecewise") as file:
            for name in order:
                file.add(name, content[name])
            file.meta = meta
        assert (folder / "piecewise").read_bytes() == (folder / "whole").read_bytes()
        assert sorted(path.name for path in folder.iterdir()) == ["piecewise", "whole"]

    def test_other_byte_orders_and_layouts_are_written_as_they_mean(self, tmp_path: Path) -> None:
        values = np.arange(6.0).reshape(2, 3)
        with arrays.Writer(tmp_path / "a") as file:
            file.add("big", values.astype(">f8"))
            file.add("transposed", values.T)
        read = arrays.load(tmp_path / "a")
        np.testing.assert_array_equal(read["big"], values)
        np.testing.assert_array_equal(read["transposed"], values.T)

    def test_a_failure_leaves_what_stood_there(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("before")
        with pytest.raises(RuntimeError, match="midway"), arrays.Writer(tmp_path / "a") as file:
            file.add("x", np.zeros(3))
            raise RuntimeError("midway")
        assert (tmp_path / "a").read_text() == "before" and len(list(tmp_path.iterdir())) == 1

    def test_a_name_twice_or_a_type_without_a_name_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="'x'"), arrays.Writer(tmp_path / "a") as file:
            file.add("x", np.zeros(3))
            file.add("x", np.zeros(3))
        with pytest.raises(ValueError, match="complex"), arrays.Writer(tmp_path / "a") as file:
            file.add("x", np.zeros(3, complex))

    def test_memory_does_not_grow_with_the_file(self, tmp_path: Path) -> None:
        code = """
import resource, sys
import numpy as np
from utopia import arrays
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
block = np.ones((1 << 20,))
with arrays.Writer(sys.argv[1]) as file:
    file.add("first", block)
    before = peak()
    for number in range(30):
        file.add(str(number), block)
print(peak() - before)
"""
        command = [sys.executable, "-c", code, str(tmp_path / "a")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert int(done.stdout) < 64 * 1024, "30 arrays of 8 MB were written"
        assert (tmp_path / "a").stat().st_size > 31 * 8 * (1 << 20)
