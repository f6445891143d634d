"""Nonsense in the configuration and on the command line: a message, never a traceback, never a wait.

One process serves all examples: it has the real commands in a copy of the checkout, with nothing but Snakemake's start
taken out. The seconds that count are the processor's, so that a busy machine fails nothing; the clock ends a wait.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from checkout import copy_tracked, environment, made_once
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from utopia.cli.main import COMMANDS

REPOSITORY = Path(__file__).parents[3]
PATIENCE = 10.0
"""Seconds of the processor that a refusal may take; the worst takes 2."""
_HANGS = 90.0
_EXAMPLES = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

_SERVER = """\
import contextlib, io, json, os, sys, time, traceback
from pathlib import Path
from utopia.cli import engine, main

def no_start(*words, **more):
    raise SystemExit(0)

assert callable(engine.dry_run)
engine.dry_run = lambda *words, **more: []
os.execv = no_start
checkout = Path.cwd()
requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
for line in requests:
    asked = json.loads(line)
    config = checkout / "config.yaml"
    config.unlink(missing_ok=True)
    if asked["config"] is not None:
        config.write_bytes(asked["config"].encode("utf-8", "surrogatepass"))
    os.chdir(checkout)
    out, err, fault, code = io.StringIO(), io.StringIO(), "", None
    start = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main.main(asked["words"])
        except SystemExit as end:
            code = end.code
        except BaseException:
            fault = traceback.format_exc()
    answer = {"code": code, "said": out.getvalue() + err.getvalue(), "fault": fault,
              "seconds": time.process_time() - start}
    print(json.dumps(answer), file=answers, flush=True)
"""


class Commands:
    """The commands in a process of their own; `ask` gives what one of them answers."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        self.config = (folder / "config.yaml").read_text(encoding="utf-8")
        self.process: subprocess.Popen[str] | None = None

    def ask(self, words: list[str], config: str | None) -> dict:
        """Run a command with a configuration (None: there is no such file)."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SERVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=self.folder,
                env={**environment(self.folder), "HOME": str(self.home)},
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"words": words, "config": config}) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], _HANGS)[0]:
            self.end()
            pytest.fail(f"utopia {words} has not answered for {_HANGS} s; its configuration:\n{str(config)[:2000]}")
        line = self.process.stdout.readline()
        if not line:
            self.end()
            pytest.fail(f"utopia {words} has ended its process; its configuration:\n{str(config)[:2000]}")
        return json.loads(line)

    def end(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    folder = made_once(tmp_path_factory, "a checkout for nonsense", lambda folder: copy_tracked(REPOSITORY, folder))
    served = Commands(folder, tmp_path_factory.mktemp("home"))
    yield served
    served.end()


def judge(commands: Commands, words: list[str], config: str | None) -> dict:
    """What must hold of every answer."""
    config_before = sorted(path.name for path in commands.folder.iterdir())
    answer = commands.ask(words, config)
    what = f"utopia {words}\n{answer['said'][-3000:]}{answer['fault']}\nits configuration:\n{str(config)[:1500]}"
    assert not answer["fault"], what
    assert answer["code"] in (0, 1, 2), what
    # A log is kept of what only the system knows: how long a name may be. Whatever else leaves one was not foreseen.
    assert "raceback" not in answer["said"] or "(ENAMETOOLONG)" in answer["said"], what
    assert answer["code"] == 0 or answer["said"].strip(), f"it failed without a word: {what}"
    assert answer["seconds"] < PATIENCE, f"{answer['seconds']:.0f} s: {what}"
    added = {path.name for path in commands.folder.iterdir()} - {*config_before, "config.yaml", ".snakemake", "results"}
    assert not any(name.startswith(("~", ".")) or "\n" in name for name in added), f"it made {added}: {what}"
    return answer


# What reads the configuration, each in its own way.
READERS = [
    ["plan"],
    ["status"],
    ["run"],
    ["resume"],
    ["compare"],
    ["explain", "ulda_table_2/et.baseline/summe.f_score"],
    ["why", "results/miniature/tables/ulda_table_2.csv"],
    ["touched", "--host", "x"],
    ["verify", "--hash-only"],
    ["crate"],
    ["keep"],
    ["adopt", "--dry-run"],
    ["sign", "--check"],
    ["open", "--print"],
    ["fetch", "--dry-run", "--study", "paper"],
]


def ladder(first: str, step: str, rungs: int) -> str:
    lines = [f"a0: &a0 {first}"] + [step.format(number, number - 1) for number in range(1, rungs + 1)]
    return "\n".join(lines) + "\n"


HOSTILE = {
    "merge keys": ladder("{x: 1}", "a{0}: &a{0} {{<<: [" + ", ".join(["*a{1}"] * 9) + "]}}", 9),
    "aliases": ladder("[x, x]", "a{0}: &a{0} [" + ", ".join(["*a{1}"] * 9) + "]", 9),
    "nesting": "a: " + "[" * 3000,
    "a chain": ladder("{x: 1}", "a{0}: &a{0} {{y: *a{1}}}", 3000),
    "itself": "study: &a [*a]\n",
    "no text": "study: \x00\n",
    "a list": "- study\n",
    "nothing": "",
    "no file": None,
    "not UTF-8": "study: \udcff\n",
    "keys": "? [a]\n: 1\n",
}
VALUES = [
    "9" * 5000, "-1", "0", "1e999", "-.inf", ".nan", "9223372036854775808", "7e9", "0x" + "f" * 4000, "1:30",
    "yes", "off", "null", "''", "2026-02-31", "!!float abc", '!!int ""', "!!timestamp x", "!!python/name:os.system x",
    "[]", "{}", "[[[]]]", "[-1, 12]", "[yes]", "{a: 1}", "*nothing", "&a [*a]", "<<", "'a: b'", '"a\\nb"', '"\\0"',
    "workflow", ".git", "/etc", "/", "~/x", "~nobody-of-this-name/x", "../..", "/etc/passwd", "/dev/zero", "/proc/self",
    "x" * 300, "é" * 200, "/".join(["x" * 100] * 60), "{<<: {a: 1}, a: 2}", "@x", "`x`", "%x", "|",
]  # fmt: skip
VALUE = st.sampled_from(VALUES) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
).map(lambda value: yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip())


@pytest.mark.parametrize("what", HOSTILE)
def test_a_configuration_that_is_none(commands: Commands, what: str) -> None:
    for words in READERS:
        answer = judge(commands, words, HOSTILE[what])
        if what != "nothing" or words != ["status"]:
            assert answer["code"] in (1, 2)


# Settings of every kind that a user may get wrong, by their place in config.yaml.
PLACES = [
    "study", "data", "results", "seed", "repeats", "device", "tables", "figures", "engine", "generated", "evaluation",
    "datasets", "datasets.liris", "datasets.liris.folder", "datasets.liris.features", "datasets.liris.shard",
    "datasets.liris.models", "datasets.liris.models.et", "datasets.liris.distribution.bins", "features.googlenet",
    "datasets.liris.distribution.sigma", "features", "features.googlenet.extractor", "features.googlenet.options.fps",
    "features.google_pool5_summe.files", "features.google_pool5_summe.sha256", "treatments", "treatments.baseline",
    "treatments.baseline.loss", "treatments.baseline.members", "models", "models.et", "models.et.layers",
    "models.bi_gru.units", "losses", "samplers.tns.window", "unheard_of",
]  # fmt: skip


def overlay(place: str, value: str) -> str:
    """One line of YAML that sets what stands at a place."""
    *above, last = place.split(".")
    return "".join(f"{name}: {{" for name in above) + f"{last}: {value}" + "}" * len(above) + "\n"


@_EXAMPLES
@given(st.sampled_from(PLACES), VALUE, st.sampled_from(READERS))
@example("results", "~/x", ["run"])
@example("results", '"a\\nb"', ["explain", "x"])
@example("results", "[x]", ["verify"])
@example("data", "{a: 1}", ["touched", "--host", "x"])
@example("data", "x" * 300, ["status"])
@example("study", "../../../../x", ["explain", "x"])
@example("study", "[miniature]", ["crate"])
@example("datasets.liris.models.et", "{d_model: 11}", ["plan"])
@example("datasets.liris.models.et", "{slices.slice.x: 1}", ["plan"])
@example("tables", "[../../x]", ["plan"])
@example("tables", "[" + "x" * 300 + "]", ["run"])
def test_nonsense_in_the_configuration(commands: Commands, place: str, value: str, words: list[str]) -> None:
    """As `--configfile` where the command takes one, and in config.yaml itself."""
    (commands.folder / "nonsense.yaml").write_bytes(overlay(place, value).encode("utf-8", "surrogatepass"))
    if words[0] not in ("run", "resume"):
        judge(commands, [*words, "--configfile", "nonsense.yaml"], commands.config)
    kept = [line for line in commands.config.splitlines() if not line.startswith(f"{place.split('.')[0]}:")]
    block = place.split(".")[0] in ("datasets", "features", "treatments")
    judge(commands, words, "\n".join([*(commands.config.splitlines() if block else kept), overlay(place, value)]))


WORDS = st.sampled_from(
    [
        "", " ", "x", "\0", "a\nb", "\udcff", "é" * 200, "x" * 5000, "../..", "/dev/zero", "/etc/passwd", "/", "~",
        "~x/y", "--", "-", "-1", "nan", "1e999", "9" * 5000, "all", "miniature", "paper", "results", "a/b/c",
        "config.yaml", "%s", "ulda_table_2/et.baseline/summe.f_score",
        "ulda_table_2//", "*", "[", "0" * 64, "summe", "$(x)", "{x}",
    ]
) | st.text(max_size=12).filter(lambda word: word != "--debug")  # fmt: skip
# Hypothesis also draws what the code under test spells out, and with --debug a traceback is what is asked for.
OPTIONS = {
    "run": ["--study", "--data", "--configfile", "--cores", "--profile", "--dry-run", "--tables", "--datasets"],
    "resume": ["--study", "--data", "--cancel"],
    "fetch": ["--study", "--data", "--only", "--from", "--mirror", "--pause", "--format", "--tries", "--weights"],
    "open": ["--study", "--configfile", "--json", "--print"],
    "plan": [
        "--study",
        "--data",
        "--tables",
        "--datasets",
        "--json",
        "--videos",
        "--dataset",
        "--seconds",
        "--nodes",
        "--node-cores",
    ],
    "status": ["--study", "--data", "--tables", "--datasets", "--json"],
    "compare": ["--study", "--data", "--tables", "--datasets", "--json", "--markdown"],
    "explain": ["--study", "--data", "--configfile", "--json", "--full", "--inputs", "--code", "--hardware"],
    "why": ["--study", "--data", "--configfile", "--json", "--all"],
    "touched": ["--study", "--data", "--configfile", "--json", "--gpu", "--host", "--input", "--commit", "--all"],
    "diff": ["--json"],
    "verify": [
        "--study",
        "--configfile",
        "--json",
        "--seal",
        "--tolerance",
        "--cores",
        "--scratch",
        "--retrain",
        "--predict",
        "--reextract",
        "--partial",
        "--all",
    ],
    "keep": ["--study", "--data", "--configfile", "--json", "--partial"],
    "adopt": ["--study", "--data", "--configfile", "--json", "--dry-run", "--inputs"],
    "sign": ["--study", "--data", "--configfile", "--json", "--key", "--signers", "--check"],
    "crate": [
        "--study",
        "--output",
        "--include",
        "--agent",
        "--orcid",
        "--check",
        "--seal",
        "--digest",
        "--hash-only",
        "--partial",
        "--unsound",
    ],
}
FLAGS = {"--dry-run", "--cancel", "--weights", "--json", "--markdown", "--full", "--inputs", "--code", "--hardware",
         "--all", "--hash-only", "--partial", "--print", "--unsound"}  # fmt: skip


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    command = draw(st.sampled_from(sorted(OPTIONS)))
    words = [command]
    for option in draw(st.lists(st.sampled_from(OPTIONS[command]), max_size=3)):
        words += [option] if option in FLAGS else [option, draw(WORDS)]
    words += draw(st.lists(WORDS, max_size=2))
    # Nothing may reach the network.
    return [*words[:1], "--dry-run", *words[1:]] if command == "fetch" else words


def test_every_command_is_tried() -> None:
    # `doctor` tries the machine for seconds, and `new` writes into the checkout; both have tests of their own.
    assert set(OPTIONS) | {"doctor", "new"} == set(COMMANDS)
    assert {words[0] for words in READERS} | {"diff", "doctor", "new"} == set(COMMANDS), "diff reads no configuration"
    assert {option for known in OPTIONS.values() for option in known} >= FLAGS


@_EXAMPLES
@given(command_lines())
@example(["touched", "--host", ""])
@example(["crate", "--check", "/dev/zero"])
@example(["crate", "--check", "/"])
@example(["crate", "--check", "x" * 300])
@example(["explain", "\0"])
@example(["explain", "x" * 5000])
@example(["why", "results/miniature/" + "x" * 300])
@example(["diff", "/dev/zero", "\0"])
@example(["diff", "x" * 300, "."])
@example(["plan", "--videos", "9" * 5000])
@example(["plan", "--data", "\0"])
@example(["run", "--profile", "../../x"])
@example(["run", "--profile", "\0"])
@example(["run", "--cores", "9" * 5000])
@example(["verify", "--configfile", "/dev/zero"])
@example(["\udcff"])
@example(["--", "--"])
def test_nonsense_on_the_command_line(commands: Commands, words: list[str]) -> None:
    judge(commands, words, commands.config)


def test_what_nobody_foresaw_is_one_line_and_a_log(tmp_path: Path, monkeypatch, capsys) -> None:
    from utopia.cli import main

    class Broken:
        @staticmethod
        def configure(parser) -> None:
            pass

        @staticmethod
        def run(chosen) -> int:
            raise fault

    monkeypatch.setattr(main, "CHECKOUT", tmp_path)
    monkeypatch.chdir(tmp_path)  # in another checkout a command says which one it works in
    monkeypatch.setattr(main, "module_of", lambda command: Broken)
    for fault, words in (
        (ZeroDivisionError("a\nb"), "nobody foresaw: ZeroDivisionError: a b"),
        (RecursionError("x" * 1000), "RecursionError"),
        (FileNotFoundError(2, "No such file or directory", "/x/y"), "/x/y: No such file or directory (ENOENT)"),
        (MemoryError(), "not enough memory"),
    ):
        assert main.main(["plan"]) == 1
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1 and len(said) < 700
        log = Path(said.strip().rpartition(" ")[2])
        assert log.is_relative_to(tmp_path / ".snakemake")
        assert type(fault).__name__ in log.read_text() and "Traceback" in log.read_text()
        log.unlink()
    monkeypatch.setattr(main, "CHECKOUT", Path("/proc/1"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc/1")
    assert main.main(["plan"]) == 1
    assert "no log could be written" in capsys.readouterr().err
