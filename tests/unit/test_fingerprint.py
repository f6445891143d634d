"""The fingerprint changes with what runs, and with nothing else."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia import fingerprint
from utopia.errors import UtopiaError
from utopia.fingerprint import PACKAGE, canonical
from utopia.provenance import adopt as adopting
from utopia.provenance import verify as verifying

FILES = {
    "__init__.py": '"""The package."""\n',
    "top.py": '''"""Adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mini import helpers
from mini.deep.inner import scale as rescale

if TYPE_CHECKING:
    from mini.types_only import Shape

SIZE = 3


def add(a: int, b: int = 2) -> int:
    """Sum."""
    # the heart
    return a + b * SIZE


class Settings:
    width: int = 4
    """Attribute docstring."""

    @staticmethod
    def late() -> float:
        from . import lazy

        return lazy.value()
''',
    "helpers.py": "def help(x):\n    return x\n",
    "lazy.py": "def value():\n    return 1.5\n",
    "types_only.py": "Shape = tuple\n",
    "unrelated.py": "X = 1\n",
    "deep/__init__.py": "LIMIT = 9\n",
    "deep/inner.py": "from ..base import unit\n\ndef scale(x):\n    return x * unit\n",
    "deep/other.py": "Y = 1\n",
    "base.py": "unit = 10\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "mini" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "mini"


def of(package: Path) -> str:
    return fingerprint.fingerprint("mini.top", package=package)


def edit(package: Path, name: str, old: str, new: str) -> None:
    text = (package / name).read_text()
    assert text.count(old) == 1
    (package / name).write_text(text.replace(old, new))


def test_the_closure_follows_every_kind_of_import(package: Path) -> None:
    assert set(fingerprint.closure("mini.top", package=package)) == {
        "mini",
        "mini.top",
        "mini.helpers",
        "mini.deep",
        "mini.deep.inner",
        "mini.base",
        "mini.lazy",
    }


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("top.py", "# the heart", "# the very heart\n    # of it"),
        ("top.py", '"""Sum."""\n', ""),
        ("top.py", '"""Attribute docstring."""', '"""Another text."""'),
        ("top.py", '"""Adds."""', '"""Adds things,\nmany of them."""'),
        ("top.py", "return a + b * SIZE", "return (\n        a\n        + b * SIZE\n    )"),
        ("top.py", "SIZE = 3\n", "SIZE = 0x3\n\n\n\n"),
        ("helpers.py", "    return x", "\n\n    return  x  # itself"),
        ("__init__.py", '"""The package."""', "# nothing"),
        ("unrelated.py", "X = 1", "X = 2"),
        ("types_only.py", "tuple", "list"),
        ("deep/other.py", "Y = 1", "Y = 2"),
    ],
)
def test_what_does_not_run_changes_nothing(package: Path, name: str, old: str, new: str) -> None:
    before = of(package)
    edit(package, name, old, new)
    assert of(package) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("top.py", "SIZE = 3", "SIZE = 3.0"),
        ("top.py", "a + b * SIZE", "a - b * SIZE"),
        ("top.py", "b: int = 2", "b: int = 3"),
        ("top.py", "@staticmethod", "@classmethod"),
        ("top.py", "width: int = 4", "width: float = 4"),
        ("top.py", "scale as rescale", "scale as scale"),
        ("helpers.py", "return x", "return -x"),
        ("lazy.py", "1.5", "1.25"),
        ("deep/__init__.py", "9", "8"),
        ("deep/inner.py", "x * unit", "unit * x"),
        ("base.py", "unit = 10", "unit = '10'"),
    ],
)
def test_what_runs_changes_it(package: Path, name: str, old: str, new: str) -> None:
    before = of(package)
    edit(package, name, old, new)
    assert of(package) != before


def test_an_edit_that_keeps_size_and_is_undone_comes_back(package: Path) -> None:
    before = of(package)
    edit(package, "base.py", "unit = 10", "unit = 11")
    assert of(package) != before
    edit(package, "base.py", "unit = 11", "unit = 10")
    assert of(package) == before


def test_a_name_that_becomes_a_submodule_joins(package: Path) -> None:
    edit(package, "helpers.py", "def help", "from mini.deep import late\n\n\ndef help")
    assert "mini.deep.late" not in fingerprint.closure("mini.top", package=package)
    (package / "deep" / "late.py").write_text("Z = 1\n")
    assert "mini.deep.late" in fingerprint.closure("mini.top", package=package)


def test_it_does_not_depend_on_where_the_package_lies(package: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "mini"
    for name, text in FILES.items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(f"{text}\n# parsed by itself: no other file has these bytes\n")
    assert of(other) == of(package)


def test_a_copy_is_parsed_where_it_differs_and_only_there(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a crate, which holds the code of the program that writes and checks it."""
    edit(package, "base.py", "unit = 10", "unit = 12")
    before = of(package)
    other = tmp_path / "elsewhere" / "mini"
    shutil.copytree(package, other)
    parsed, parse = [], ast.parse
    monkeypatch.setattr(ast, "parse", lambda *of, **named: parsed.append(named["filename"]) or parse(*of, **named))
    assert of(other) == before and parsed == []
    edit(other, "base.py", "unit = 12", "unit = 13")
    assert of(other) != before and parsed == [str(other / "base.py")]
    # The same text says something else where it lies in another folder, or is the package itself.
    (other / "lazy.py").unlink()
    (other / "lazy").mkdir()
    text = "from .base import unit\n\ndef value():\n    return unit\n"
    (other / "lazy" / "base.py").write_text("unit = 14\n")
    (other / "lazy" / "__init__.py").write_text(text)
    inside = fingerprint.closure("mini.top", package=other)
    (other / "lazy" / "__init__.py").unlink()
    (other / "lazy" / "base.py").unlink()
    (other / "lazy").rmdir()
    (other / "lazy.py").write_text(text)
    beside = fingerprint.closure("mini.top", package=other)
    assert "mini.lazy.base" in inside and "mini.lazy.base" not in beside


def test_files_count_but_are_not_followed(package: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from mini import unrelated\nunrelated.go(1)\n")
    modules = fingerprint.closure("mini.base", files=[script], package=package)
    assert set(modules) == {"mini", "mini.base", "script.py"}
    script.write_text("from mini import unrelated  # why\nunrelated.go(1)\n")
    assert fingerprint.closure("mini.base", files=[script], package=package) == modules
    script.write_text("from mini import unrelated\nunrelated.go(2)\n")
    assert fingerprint.closure("mini.base", files=[script], package=package) != modules


def test_a_missing_module_is_named_with_the_line_that_imports_it(package: Path) -> None:
    with pytest.raises(UtopiaError, match=r"there is no module 'mini\.nothing'"):
        fingerprint.fingerprint("mini.nothing", package=package)
    edit(package, "helpers.py", "def help", "\nimport mini.gone\ndef help")
    with pytest.raises(UtopiaError, match=r"helpers\.py:2: there is no module 'mini\.gone'"):
        of(package)


def test_a_module_that_is_not_python_is_named_with_its_line(package: Path) -> None:
    (package / "base.py").write_text("x = 1\ny = = 2\n")
    with pytest.raises(UtopiaError, match=r"base\.py:2: not valid Python"):
        of(package)


def test_a_cycle_of_imports_ends(package: Path) -> None:
    edit(package, "base.py", "unit", "import mini.top\nunit")
    assert "mini.top" in fingerprint.closure("mini.base", package=package)


@given(st.data())
def test_comments_blank_lines_and_docstrings_anywhere_change_nothing(data: st.DataObject) -> None:
    lines = FILES["top.py"].splitlines()
    tree = canonical(ast.parse("\n".join(lines)))
    number = data.draw(st.integers(0, len(lines)))
    text = data.draw(st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20))
    assert canonical(ast.parse("\n".join([*lines[:number], f"# {text}", "", *lines[number:]]))) == tree
    at_start = [position for position, line in enumerate(lines) if line.startswith(("SIZE", "def", "class"))]
    position = data.draw(st.sampled_from(at_start))
    assert canonical(ast.parse("\n".join([*lines[:position], repr(text), *lines[position:]]))) == tree


@given(st.integers() | st.floats(allow_nan=False) | st.text() | st.booleans() | st.none() | st.binary())
def test_two_constants_look_alike_only_if_they_are_alike(value: object) -> None:
    seen = canonical(ast.parse(f"x = {value!r}"))
    for other in (0, 0.0, -0.0, 1, True, None, "", b"", "0"):
        same = type(value) is type(other) and repr(value) == repr(other)
        assert (canonical(ast.parse(f"x = {other!r}")) == seen) == same


def test_a_module_written_in_another_layout_is_the_same_module() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
    differ = [
        path.relative_to(PACKAGE).as_posix()
        for path, tree in trees.items()
        if canonical(ast.parse(ast.unparse(tree))) != canonical(tree)
    ]
    assert len(trees) > 200 and differ == []


def test_the_recording_machinery_is_within_reach_and_light() -> None:
    modules = fingerprint.closure("utopia.provenance.job")
    assert "utopia.provenance.failures" in modules
    assert "utopia.files" in modules
    assert not any(name.startswith(("utopia.training", "utopia.models")) for name in modules)


def test_the_rule_parameter_names_what_it_starts_from() -> None:
    script = PACKAGE.parents[2] / "tests" / "conftest.py"
    given_code = fingerprint.code("utopia.files", "utopia.errors", files=[script])
    assert given_code["roots"] == ["utopia.errors", "utopia.files"]
    assert given_code["files"] == ["tests/conftest.py"]
    again = fingerprint.closure(*given_code["roots"], files=[fingerprint.file_of("tests/conftest.py")])
    assert fingerprint.digest_of(again) == given_code["fingerprint"]


def test_a_script_outside_the_checkout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("")
    with pytest.raises(UtopiaError, match="outside the checkout"):
        fingerprint.code("utopia.files", files=[tmp_path / "x.py"])


# -- what is kept between processes

TELL = """
import ast, sys
from utopia.provenance import adopt as adopting
from utopia import fingerprint
from utopia.provenance import verify as verifying
parsed, parse = [], ast.parse
def counted(text, *arguments, filename="", **named):
    parsed.append(filename)
    return parse(text, *arguments, filename=filename, **named)
ast.parse = counted
if sys.argv[1] == "afresh":
    fingerprint.read_afresh()
found = fingerprint.closure("utopia.provenance.job")
print(len(found), fingerprint.digest_of(found), len(parsed), len(set(parsed)))
"""


class Copy:
    """A copy of the package, and the fingerprint of some of it that a process of its own takes."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "workflow" / "lib" / "utopia"
        shutil.copytree(PACKAGE, self.package, ignore=shutil.ignore_patterns("__pycache__"))

    def told(self, how: str = "", **environment: str) -> tuple[str, int]:
        """The fingerprint, and how many files were parsed for it; none of them twice."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [sys.executable, "-c", TELL, how],
            env={**kept, "PYTHONPATH": str(self.package.parent), **environment},
            cwd=self.package.parent, capture_output=True, text=True, check=True,
        )  # fmt: skip
        count, digest, parsed, once = done.stdout.split()
        assert parsed == once and int(count) > 10
        return digest, int(parsed)

    @property
    def stored(self) -> Path:
        return next((self.package / "__pycache__").glob("fingerprint.*.json"))

    def edit(self, name: str, text: str) -> None:
        path = self.package / name
        path.write_text(path.read_text() + text)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_file_is_parsed_once_for_all_processes(copy: Copy) -> None:
    digest, parsed = copy.told()
    assert parsed == len(fingerprint.closure("utopia.provenance.job"))
    assert copy.told() == (digest, 0)
    copy.edit("errors.py", "\n# a remark\n")
    assert copy.told() == (digest, 1)
    copy.edit("errors.py", "\n_EXTRA = 1\n")
    changed, parsed = copy.told()
    assert changed != digest and parsed == 1
    assert copy.told() == (*copy.told("afresh")[:1], 0)


def test_an_audit_parses_every_file_itself(copy: Copy) -> None:
    digest, parsed = copy.told()
    stored = json.loads(copy.stored.read_text())
    stored["files"]["lib/utopia/errors.py"][1] = "0" * 64
    copy.stored.write_text(json.dumps(stored))
    assert copy.told()[0] != digest, "what is stored is used"
    assert copy.told("afresh") == (digest, parsed)


def test_verify_and_adopt_read_afresh() -> None:
    for module in (verifying, adopting):
        tree = ast.parse(Path(module.__file__).read_text())
        called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert "fingerprint.read_afresh" in called


def test_what_is_stored_may_be_damaged(copy: Copy) -> None:
    whole = copy.told()
    text = copy.stored.read_text()
    numbers = json.dumps({**json.loads(text), "files": dict.fromkeys(json.loads(text)["files"], 5)})
    no_files = json.dumps({**json.loads(text), "files": 5})
    for damaged in (text[: len(text) // 2], "[1]", numbers, no_files):
        copy.stored.write_text(damaged)
        assert copy.told() == whole
    assert copy.told() == (whole[0], 0)


def test_another_way_to_hash_makes_what_is_stored_void(copy: Copy) -> None:
    whole = copy.told()
    copy.edit("fingerprint.py", "\n# another way\n")
    assert copy.told() == whole


def test_nothing_is_stored_where_python_stores_nothing(copy: Copy) -> None:
    whole = copy.told(PYTHONDONTWRITEBYTECODE="1")
    assert not (copy.package / "__pycache__").exists()
    copy.package.joinpath("__pycache__").write_text("in the way")
    assert copy.told() == copy.told() == whole
