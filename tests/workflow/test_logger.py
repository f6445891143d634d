"""What a run looks like: the logger plugin under real runs of Snakemake, on a terminal and elsewhere."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import warm

from snakemake_logger_plugin_utopia.show import Show
from utopia.provenance.failures import SHOWN_BY_LOGGER

pytestmark = pytest.mark.workflow

NOISE = (
    "Building DAG",
    "Select jobs",
    "Job stats",
    "rule build_labels:",
    "Provided cores",
    "jobid",
    "reason:",
    "SNAKEMAKE",
)

SNAKEFILE = """
import os
from utopia import fingerprint

CODE = fingerprint.code("utopia.errors")

rule all:
    input:
        expand("results/mini/tables/ulda_table_{d}.csv", d=range(int(os.environ.get("TABLES", "3")))),
        expand("results/mini/figures/ulda_figure_{n}.pdf", n=os.environ.get("FIGURES", "2").split()),

rule build_labels:
    output: "results/mini/labels/{d}.txt"
    log: "results/mini/logs/build_labels/{d}.log"
    params: code=CODE
    script: "job.py"

rule render_table:
    input: "results/mini/labels/{d}.txt"
    output: "results/mini/tables/ulda_table_{d}.csv", "results/mini/tables/ulda_table_{d}.md"
    shell: "for file in {output}; do echo x > $file; done"

rule render_figure:
    input: "results/mini/labels/0.txt"
    output: "results/mini/figures/ulda_figure_{n}.pdf"
    shell: "case {wildcards.n} in " + os.environ.get("FIGURE", "") + " *) echo x > {output};; esac"
"""
JOB = """
import os, signal, time
from pathlib import Path

if os.environ.get("FAIL") == "import":
    raise ImportError("no such library")

from utopia.errors import InputError
from utopia.provenance.job import record

with record(snakemake):
    print("job says", snakemake.rule)
    time.sleep(float(os.environ.get("NAP", "0")))
    d = snakemake.wildcards.d
    fail = os.environ.get("FAIL", "000000")[int(d)]
    if fail == "i":
        raise InputError(f"damaged at frame {d}0", where=f"data/{d}.mp4", why="labels need it", remedy="fetch it again")
    if fail == "v":
        raise ValueError(f"shapes {d} and 4 differ")
    if fail in "ks":
        print("INFO at work on song_3", flush=True)
        os.kill(os.getpid(), signal.SIGKILL if fail == "k" else signal.SIGSEGV)
    if fail == "o" and not Path(f"tried_{d}").exists():
        Path(f"tried_{d}").touch()
        raise InputError("not there yet")
    for output in snakemake.output:
        Path(output).write_text("x")
"""


class Workflow:
    """A small workflow in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "Snakefile").write_text(SNAKEFILE)
        (folder / "job.py").write_text(JOB)

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--cores", "2", "--logger", "utopia", *options]

    def environment(self, **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("UTOPIA_")}
        return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **variables}

    def run(self, *options: str, code: int = 0, **variables: str) -> str:
        words = self.command(*options)[2:]
        done = warm.run(*words, cwd=self.folder, env=self.environment(**variables))
        text = done.stdout + done.stderr
        assert done.returncode == code, text
        assert not (self.folder / ".snakemake" / "log" / "utopia-logger.log").exists(), text
        assert not any(words in text for words in NOISE), text
        return text

    def start(self, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(),
            cwd=self.folder,
            env=self.environment(**variables),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def state(self) -> dict[str, Any]:
        return json.loads((self.folder / "results" / "mini" / "audit" / "run.json").read_text())

    def make_page(self) -> Path:
        page = self.folder / "results" / "mini" / "report" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("")
        return page

    def outputs(self) -> set[str]:
        found = (self.folder / "results").rglob("*.*")
        return {path.name for path in found if path.suffix in (".txt", ".csv", ".md", ".pdf")}


NOTHING = "nothing to do: everything asked for is there and up to date\n"


def feed(monkeypatch: pytest.MonkeyPatch, *messages: tuple[str, str], dryrun: bool = False) -> None:
    """Show what Snakemake logs: levels and texts as recorded from it."""
    monkeypatch.setenv(SHOWN_BY_LOGGER, "1")  # so that it is put back: the display sets it
    no = dict.fromkeys(("stdout", "verbose", "debug_dag", "printshellcmds", "show_failed_logs"), False)
    show = Show(SimpleNamespace(**no, nocolor=True, quiet=None, dryrun=dryrun))
    for level, text in messages:
        show.take(logging.makeLogRecord({"levelname": level, "levelno": getattr(logging, level), "msg": text}))
    show.end()


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    return Workflow(tmp_path)


def test_a_run_is_short_and_the_next_one_says_there_is_nothing_to_do(workflow: Workflow) -> None:
    plan = workflow.run("-n").splitlines()
    assert plan[0] == "7 jobs would run (dry run: nothing is changed)"
    assert [line.split() for line in plan[2:]] == [
        ["build_labels", "3", "output", "is", "missing"],
        ["render_figure", "1", "output", "is", "missing"],
        ["render_table", "3", "output", "is", "missing"],
    ]
    assert not (workflow.folder / "results").exists()

    text = workflow.run()
    lines = text.splitlines()
    assert lines[0] == "7 jobs to run"
    assert re.fullmatch(r"done: 7 jobs in (\d+ min )?\d+ s", lines[-6])
    assert lines[-5:] == [
        "  jobs:     build_labels 3, render_figure 1, render_table 3",
        "  tables:   ulda_table_0, ulda_table_1, ulda_table_2",
        "            in results/mini/tables (csv, md)",
        "  figures:  ulda_figure_2",
        "            in results/mini/figures (pdf)",
    ]
    assert "job says" not in text
    assert len(workflow.outputs()) == 10
    state = workflow.state()
    assert (state["state"], state["total"], state["done"], state["running"], state["failed"]) == ("done", 7, 7, [], [])
    assert set(state["seconds_by_rule"]) == {"build_labels", "render_table", "render_figure"}

    assert workflow.run() == NOTHING
    assert workflow.state()["state"] == "done"
    assert workflow.state()["seconds_by_rule"] == state["seconds_by_rule"]

    (workflow.folder / "results/mini/tables/ulda_table_0.csv").unlink()
    page = workflow.make_page()
    lines = workflow.run(UTOPIA_STUDY_FOLDER="results/mini").splitlines()
    assert lines[0] == "1 job to run for results/mini"
    assert lines[-1].split() == ["page:", str(page), "(utopia", "open)"]


@pytest.mark.parametrize(("dryrun", "page"), [(False, True), (False, False), (True, True)])
def test_where_there_is_nothing_to_do_a_page_that_is_there_is_named(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dryrun: bool, page: bool
) -> None:
    """But not by a dry run, which makes none. The words are those of Snakemake in the test before."""
    monkeypatch.chdir(workflow.folder)
    monkeypatch.setenv("UTOPIA_STUDY_FOLDER", "results/mini")
    path = workflow.make_page() if page else None
    feed(monkeypatch, ("INFO", "Nothing to be done (all requested files are present and up to date)."), dryrun=dryrun)
    line = f"  page:     {path}   (utopia open)\n" if path and not dryrun else ""
    assert capsys.readouterr().err == NOTHING + line


def test_failures_are_told_by_cause_with_the_right_log_and_a_later_success_clears_them(workflow: Workflow) -> None:
    """One run with every kind: two for one reason, an exception, two signals, a command, a missing output."""
    size = {"TABLES": "6", "FIGURES": "2 3"}
    figures = "2) echo shell words; exit 3;; 3) true;;"
    text = workflow.run("--keep-going", "--latency-wait", "0", code=1, FAIL="0iivks", FIGURE=figures, **size)
    end = text[text.index("failed: 7 of 14 jobs for 6 reasons") :]
    assert end.splitlines()[0].startswith("failed: 7 of 14 jobs for 6 reasons (2 done, 5 not run, ")
    assert end.count("damaged at frame") == 1
    assert len(re.findall(r"^failed build_labels \(d=[12]\): ", text, re.MULTILINE)) == 1  # when it happens
    assert "build_labels (d=1): data/1.mp4" in end
    assert "build_labels (d=2): data/2.mp4" in end
    assert "what to do:     fetch it again" in end
    assert len(re.findall(r"snakemake --cores 1 --force -- results/mini/labels/[12]\.txt", end)) == 1
    assert text.count("Traceback") == 1  # in the log of what this project does not expect
    assert "ValueError: shapes 3 and 4 differ" in end
    assert "end of results/mini/logs/build_labels/3.log:" in end
    assert "| ValueError: shapes 3 and 4 differ" in end
    assert "less results/mini/logs/build_labels/3.log" in end
    assert "killed from outside (SIGKILL), most often because memory ran out, while at work on song_3" in text
    assert "crashed (SIGSEGV): a fault of a library, or of the hardware, while at work on song_3" in text
    assert "build_labels (d=4)" in end and "build_labels (d=5)" in end
    assert "exit status 3, before it wrote to a log" in end
    assert "snakemake --cores 1 --force -- results/mini/figures/ulda_figure_2.pdf" in end
    assert "some output files are missing" in end
    state = workflow.state()
    assert state["state"] == "failed"
    told = sorted((failed["rule"], *failed["wildcards"].values()) for failed in state["failed"])
    assert told == [*(("build_labels", d) for d in "12345"), ("render_figure", "2"), ("render_figure", "3")]
    assert not (workflow.folder / "results/mini/labels/1.txt").exists()

    # The failures on disk are not taken for those of the next run.
    text = workflow.run("--keep-going", code=1, FAIL="import", **size)
    assert "no such library" in text  # on the terminal, from the job itself
    assert "exit status 1, before it wrote to a log: its own message is above" in text
    assert "damaged" not in text

    # A retry that succeeds is a success; quiet runs end well too.
    text = workflow.run("--quiet", "--retries", "1", FAIL="0o0000", **size)
    assert "trying again: build_labels (d=1)" in text
    assert list(workflow.folder.rglob("*.failed.json")) == []
    state = workflow.state()
    assert (state["state"], state["failed"]) == ("done", []) and f"done: {state['done']} jobs" in text


def test_ctrl_c_is_an_interruption_that_can_be_resumed(workflow: Workflow) -> None:
    process = workflow.start(NAP="30")
    deadline = time.monotonic() + 60
    while len(list(workflow.folder.rglob("*.log"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)  # two jobs and Snakemake's own log
    time.sleep(1.5)
    state = workflow.state()
    assert state["state"] == "running"
    assert state["pid"] == process.pid
    assert {job["rule"] for job in state["running"]} == {"build_labels"}
    os.killpg(process.pid, signal.SIGINT)
    text = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "stopped by you: 0 done, 7 not run" in text
    assert "What is done stays done" in text
    assert (workflow.state()["state"], workflow.state()["stopped_by"]) == ("interrupted", "you")
    assert "done: 1 job" in workflow.run("--", "results/mini/labels/0.txt")


def test_faulty_snakefiles_speak_as_ever(workflow: Workflow) -> None:
    assert "MissingRuleException" in workflow.run("--", "results/none.txt", code=1)
    (workflow.folder / "Snakefile").write_text("raise ValueError('told as it is')\n")
    assert "told as it is" in workflow.run(code=1)
    assert not (workflow.folder / "results").exists()


LINT = """\
Lints for rule build_labels (line 12, Snakefile):
    * Specify a conda environment or container for each rule.:
      This way, the used software for each specific step is documented.
"""


@pytest.mark.parametrize(("level", "text"), [("INFO", "Unlocked working directory."), ("WARNING", LINT)])
def test_other_commands_speak_as_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], level: str, text: str
) -> None:
    """What `--unlock` and `--lint` log; `--list-rules` prints without logging."""
    feed(monkeypatch, (level, text))
    assert capsys.readouterr().err == f"{text.strip()}\n"


def test_on_a_terminal_one_line_is_rewritten(workflow: Workflow) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        workflow.command(),
        cwd=workflow.folder,
        env=workflow.environment(NAP="0.3", TERM="xterm"),
        stderr=follower,
        stdout=follower,
        close_fds=True,
    )
    os.close(follower)
    said = b""
    while process.poll() is None or select.select([leader], [], [], 0.1)[0]:
        try:
            said += os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
    os.close(leader)
    text = said.decode()
    assert process.wait() == 0, text
    shown = [part for part in re.split(r"\r\x1b\[2K|\r?\n", text) if "/7 jobs" in part]
    assert len(shown) > 5
    assert text.count("\n") < 10  # the start and the summary; all else in one line
    assert any(re.search(r"\[#+\.+\] \d/7 jobs, \d+ %, \d+ s, about \d+ s left: ", part) for part in shown)
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", part)) < 80 for part in shown)
    assert "\x1b[1;32mdone: 7 jobs" in text


def test_a_fault_of_the_display_neither_ends_the_run_nor_stays_unsaid(workflow: Workflow) -> None:
    audit = workflow.folder / "results" / "mini"
    audit.mkdir(parents=True)
    (audit / "audit").write_text("a file where a folder should be")
    done = subprocess.run(
        workflow.command("--", "results/mini/labels/0.txt"),
        cwd=workflow.folder,
        env=workflow.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert workflow.outputs() == {"0.txt"}
    assert "the progress display had" in done.stderr
    assert "cannot write" in (workflow.folder / ".snakemake" / "log" / "utopia-logger.log").read_text()
