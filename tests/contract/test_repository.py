"""What holds of every committed file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST = 420
# Written in pieces, so that this file does not name what it looks for.
REGISTRIES = re.compile(r"\b(?:pypi|pythonhosted|npmjs|debian|anaconda|conda-forge)\." + r"(?:org|com|net|io)\b")
MACHINE_PATHS = re.compile(r"(?<![\w/.~$}>-])/(?:work|farm|root|opt|tmp)/[\w.-]+|" + re.escape(str(Path.home())) + "/")
FORBIDDEN = {
    "unpickling": re.compile(r"\bpickle\." + r"loads?\(|weights_only\s*=\s*" + r"False|allow_pickle\s*=\s*" + r"True"),
    "a shell": re.compile(r"shell\s*=\s*" + r"True|os\.(?:system|popen)" + r"\("),
}


@cache
def committed() -> tuple[Path, ...]:
    """Every file that git tracks or would track."""
    words = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository: the list of its files is not known")
    return tuple(path for name in sorted(listed.split("\0")) if name and (path := REPOSITORY / name).is_file())


@cache
def parsed(path: Path) -> ast.Module:
    """A Python file's syntax tree; nobody changes it."""
    return ast.parse(text(path) or "", filename=str(path))


@cache
def text(path: Path) -> str | None:
    """A file's text; None for a binary file."""
    data = path.read_bytes()
    return None if b"\0" in data else data.decode("utf-8")


def places(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate((text(path) or "").splitlines(), 1)
        if pattern.search(line)
    ]


def python_files() -> list[Path]:
    return [path for path in committed() if path.suffix == ".py"]


def _private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def _bound(tree: ast.AST) -> set[str]:
    """Private names that a file defines: functions, classes, variables and attributes."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return set(filter(_private, names))


def _asked_of_others(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of what a file reaches for in others: by import, as an attribute, or in a string for a patch."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            texts = [word.value for word in node.args[:2] if isinstance(word, ast.Constant)]
            yield from ((node.lineno, str(word).rpartition(".")[2]) for word in texts)


def test_tests_talk_to_public_names() -> None:
    """What is private may be changed by whoever changes its file, without a look at the tests.

    A module with an underscore is no component of its package (`models/_attention.py`); its names are public.
    """
    trees = {path: parsed(path) for path in python_files()}
    ours = {path: tree for path, tree in trees.items() if path.is_relative_to(REPOSITORY / "workflow")}
    private = set().union(*map(_bound, ours.values())) - {path.stem for path in ours}
    private -= {"_asdict", "_fields", "_replace"}  # Python's own, of named tuples
    assert len(private) > 500
    offences = []
    for path, tree in trees.items():
        if path.is_relative_to(REPOSITORY / "tests"):
            foreign = private - _bound(tree)
            named = (
                f"{path.relative_to(REPOSITORY)}:{at}: {name}" for at, name in _asked_of_others(tree) if name in foreign
            )
            offences += named
    assert not offences, offences


def test_no_two_helpers_of_tests_have_one_name() -> None:
    """They are found by name, whichever folder they lie in (`pythonpath` in pyproject.toml)."""
    helpers = [path for path in python_files() if path.is_relative_to(REPOSITORY / "tests")]
    names = [path.name for path in helpers if not path.name.startswith(("test_", "conftest"))]
    assert len(names) > 15 and len(set(names)) == len(names), sorted(names)


def test_there_are_files() -> None:
    assert len(python_files()) > 20


def test_text_files_are_utf_8_with_unix_line_ends() -> None:
    """Data that come with the project keep the bytes that their publishers' checksums name."""
    ours = [path for path in committed() if (REPOSITORY / "workflow" / "resources" / "embedded") not in path.parents]
    assert [str(path) for path in ours if "\r\n" in (text(path) or "")] == []


def test_no_file_names_a_registry_host() -> None:
    assert places(REGISTRIES, list(committed())) == []


def test_no_file_names_a_path_of_a_machine() -> None:
    assert places(MACHINE_PATHS, list(committed())) == []


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_no_code_uses(what: str) -> None:
    """Tests are left out: they unpickle errors of our own, and run commands as a user's shell would."""
    product = [path for path in python_files() if (REPOSITORY / "tests") not in path.parents]
    assert places(FORBIDDEN[what], product) == []


@pytest.mark.parametrize(
    ("pattern", "guilty", "innocent"),
    [
        (MACHINE_PATHS, "see /wo" + "rk/data", "https://example.org/work/x and results/tmp/y"),
        (REGISTRIES, "files.python" + "hosted.org", "pip and conda-forge"),
        (FORBIDDEN["unpickling"], "torch.load(f, weights_only=" + "False)", "weights_only=True"),
        (FORBIDDEN["a shell"], "run(x, shell=" + "True)", "run(x, shell=False)"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[str], guilty: str, innocent: str) -> None:
    assert pattern.search(guilty)
    assert not pattern.search(innocent)


def test_python_files_parse() -> None:
    for path in python_files():
        parsed(path)


def test_no_handler_swallows_every_exception() -> None:
    """`except:` and `except Exception: pass` go on with holes."""
    found = []
    for path in python_files():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception")
                silent = all(isinstance(inner, ast.Pass | ast.Continue) for inner in node.body)
                if node.type is None or (broad and silent):
                    found.append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    assert found == []


def test_files_are_short() -> None:
    suffixes = (".py", ".smk", ".sh")
    long = {
        str(path.relative_to(REPOSITORY)): count
        for path in committed()
        if (path.suffix in suffixes or path.name in ("Snakefile", "Makefile"))
        and (count := len((text(path) or "").splitlines())) > LONGEST
    }
    assert long == {}, "is there a second idea in them?"


def test_yaml_files_parse() -> None:
    for path in committed():
        if path.suffix in (".yaml", ".yml", ".cff"):
            assert yaml.safe_load(text(path) or "") is not None, path


@pytest.mark.parametrize("kind", ["tables", "figures"])
def test_every_table_and_figure_has_a_caption(kind: str) -> None:
    layouts = sorted((REPOSITORY / "workflow" / "resources" / kind).glob("*.yaml"))
    assert layouts
    folder = REPOSITORY / "workflow" / "report"
    missing = [path.stem for path in layouts if not (folder / f"{path.stem}.rst").is_file()]
    assert missing == []


def test_every_script_belongs_to_a_rule_of_the_same_name() -> None:
    texts = [path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk")]
    rules = {name for text in texts for name in re.findall(r"^(?:rule|checkpoint) (\w+):", text, re.MULTILINE)}
    # a rule for each batch of runs is named `train_<batch>`, and its script `train_runs`
    rules |= {f"{work}_runs" for text in texts for work in re.findall(r'^\s+f"(\w+)_\{batch\}",?$', text, re.MULTILINE)}
    scripts = {path.stem for path in (REPOSITORY / "workflow" / "scripts").glob("*.py")}
    assert scripts == rules


def test_the_lock_pins_every_distribution_with_hashes() -> None:
    for name in ("bootstrap", "requirements"):
        lock = (REPOSITORY / "envs" / f"{name}.txt").read_text()
        pins = re.split(r"\n(?=\S)", "\n" + lock.strip())[1:]
        assert pins
        bare = [pin.split("\n")[0] for pin in pins if "--hash=sha256:" not in pin or "==" not in pin.split("\n")[0]]
        assert bare == []


def test_the_lock_holds_what_is_asked_for() -> None:
    for name in ("bootstrap", "requirements"):
        asked = (REPOSITORY / "envs" / f"{name}.in").read_text().splitlines()
        wanted = {line.split("#")[0].strip() for line in asked} - {""}
        locked = dict(re.findall(r"^([\w.-]+)==(\S+)", (REPOSITORY / "envs" / f"{name}.txt").read_text(), re.MULTILINE))
        for line in wanted:
            package, _, version = line.partition("==")
            assert package.lower() in locked, f"make lock: {package} is not locked"
            assert not version or locked[package.lower()] == version, (
                f"make lock: {package} is locked at another version"
            )


def test_one_place_reads_yaml() -> None:
    """Its limits hold for every file: what is read elsewhere can hang a command or end it with a traceback."""
    reads = re.compile(r"yaml\.(safe_|full_|unsafe_)?load|\bYAML\(")
    library = REPOSITORY / "workflow" / "lib"
    readers = [path.name for path in library.rglob("*.py") if reads.search(path.read_text(encoding="utf-8"))]
    assert readers == []
    importers = {
        path.name
        for path in library.rglob("*.py")
        if re.search(r"(from|import) yaml\b", path.read_text(encoding="utf-8"))
    }
    assert importers <= {"yaml_file.py", "layers.py", "engine.py"}  # nodes that know lines; writing a profile


LOADED = {"pygments", "snakemake-executor-plugin-slurm"}
"""What the package does not import itself: Snakemake loads it for its report and for clusters."""


def test_what_the_package_imports_is_declared_and_the_other_way_round() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {Requirement(word).name for words in project["optional-dependencies"].values() for word in words}
    declared = {canonicalize_name(Requirement(word).name) for word in project["dependencies"]}
    providers = packages_distributions()
    imported: set[str] = set()
    for path in python_files():
        if path.is_relative_to(REPOSITORY / "workflow" / "lib"):
            for node in ast.walk(parsed(path)):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                imported |= {name.partition(".")[0] for name in names}
    ours = {path.name for path in (REPOSITORY / "workflow" / "lib").iterdir()}
    foreign = imported - sys.stdlib_module_names - ours
    distributions = {canonicalize_name(providers.get(name, [name])[0]) for name in foreign}
    assert distributions - declared - extras - {"dask"} == set(), "declare them in pyproject.toml"
    assert declared - distributions - LOADED == set(), "nothing imports them"
    lock = (REPOSITORY / "envs" / "requirements.txt").read_text(encoding="utf-8")
    pinned = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    assert declared <= pinned, "add them to envs/requirements.in, and run: make lock"
