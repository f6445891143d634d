"""Accounts, shells, notebooks and containers that are not like ours: what is done about each, and that work goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import forked
import pytest

from utopia.cli import surroundings

REPOSITORY = Path(__file__).parents[3]
UTOPIA = str(Path(sys.executable).parent / "utopia")
NOBODY = 12345
_SEEN = """\
import getpass, json, os, sys, tempfile
from pathlib import Path
from utopia.cli import surroundings
notes = surroundings.adapt(Path(sys.argv[1]))
import utopia.figures
import matplotlib
from snakemake.common import get_appdirs
cache = Path(get_appdirs().user_cache_dir)
cache.mkdir(parents=True, exist_ok=True)
print(json.dumps({
    "notes": [list(note) for note in notes], "user": getpass.getuser(), "home": str(Path.home()), "cache": str(cache),
    "temporary": tempfile.gettempdir(), "backend": matplotlib.get_backend(), "names": sys.getfilesystemencoding(),
    "variables": {name: os.environ.get(name) for name in ("SNAKEMAKE_PROFILE", "GIT_DIR", "MPLBACKEND", "TMPDIR")},
    "bytecode": os.environ.get("PYTHONDONTWRITEBYTECODE"),
}))
"""


def seen(checkout: Path, variables: dict[str, str], uid: int | None = None) -> dict:
    """What a process that was started with nothing but `variables` finds after it has adapted."""
    command = [sys.executable, "-c", _SEEN, str(checkout)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY / "workflow" / "lib"), **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, user=uid, cwd=checkout)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "/proc"},
        {"HOME": "/no/such/folder"},
        {"XDG_CACHE_HOME": "/proc/cache"},
    ],
)
def test_a_home_that_cannot_be_written(tmp_path: Path, variables: dict[str, str]) -> None:
    found = seen(tmp_path, variables)
    assert [note[0] for note in found["notes"]] == ["cache"]
    assert Path(found["cache"]).is_relative_to(tmp_path / ".snakemake")


def is_open(path: Path) -> bool:
    """Whether every account may go there."""
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become an account without a name")
@pytest.mark.skipif(not is_open(Path(sys.base_prefix)), reason="this Python lies where no other account may read")
@pytest.mark.parametrize("variables", [{}, {"HOME": "/"}, {"HOME": ""}])
def test_an_account_without_a_name_or_a_home(tmp_path: Path, variables: dict[str, str]) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    for path in (tmp_path, *tmp_path.parents[:2]):  # pytest closes its folders
        path.chmod(0o755)
    found = seen(tmp_path, variables, NOBODY)
    assert found["user"] == f"uid{NOBODY}"
    assert Path(found["cache"]).is_relative_to(tmp_path)
    assert {"cache", "user"} <= {note[0] for note in found["notes"]}


def test_an_account_that_nobody_knows(monkeypatch, tmp_path: Path) -> None:
    import pwd

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    # What `adapt` sets is taken back with the environment.
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("USER", "")
    notes = {note.subject: note for note in surroundings.adapt(tmp_path)}
    assert notes["cache"].done == os.environ["HOME"] == str(tmp_path / ".snakemake" / "cache")
    assert notes["user"].done == os.environ["USER"] == f"uid{os.getuid()}"
    assert surroundings.adapt(tmp_path) == [], "once is enough"


def test_variables_of_notebooks_shells_and_hooks(tmp_path: Path) -> None:
    variables = {
        "HOME": str(tmp_path),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "SNAKEMAKE_PROFILE": "slurm",
        "GIT_DIR": "/elsewhere/.git",
        "TMPDIR": "/no/such/folder",
    }
    found = seen(tmp_path, variables)
    assert {note[0] for note in found["notes"]} == {"MPLBACKEND", "SNAKEMAKE_PROFILE", "GIT_DIR", "TMPDIR"}
    assert all(note[3] for note in found["notes"]), "each has a remedy"
    assert found["backend"].lower() == "agg"
    assert found["variables"]["SNAKEMAKE_PROFILE"] is None and found["variables"]["GIT_DIR"] is None
    assert found["variables"]["TMPDIR"] == found["temporary"] and Path(found["temporary"]).is_dir()


@pytest.mark.parametrize("locale", ["C", "POSIX", "no_SUCH.ISO-8859-1"])
def test_names_that_are_not_ascii_in_any_locale(tmp_path: Path, locale: str) -> None:
    folder = tmp_path / "Überprüfung der Läufe"
    folder.mkdir()
    found = seen(folder, {"HOME": str(folder), "LC_ALL": locale})
    assert found["names"] == "utf-8"
    assert found["home"] == str(folder)


def test_drawing_needs_no_command_of_ours(tmp_path: Path) -> None:
    """Jobs that a plain `snakemake` starts have the notebook's variable too."""
    code = "import utopia.figures.style as style; style.blank(1.0).savefig('x.png')"
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=tmp_path, timeout=120)
    assert (tmp_path / "x.png").stat().st_size > 0


def test_jobs_may_keep_their_bytecode(tmp_path: Path) -> None:
    assert seen(tmp_path, {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"})["bytecode"] is None


def test_sums_are_those_of_one_thread(tmp_path: Path) -> None:
    """More than 10,000 values, which OpenBLAS shares among threads; the oracle is a process that has one."""
    code = (
        "import sys; from pathlib import Path; from utopia.cli import surroundings\n"
        "if sys.argv[1] == 'adapt': surroundings.adapt(Path.cwd())\n"
        "import numpy as np; from utopia.evaluation.metrics import wasserstein\n"
        "draw = np.random.default_rng(0)\n"
        "print([wasserstein(draw.normal(size=1086), draw.normal(size=9 * 1086).round(2)) for _ in range(20)])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code, how], env={**os.environ, "HOME": str(tmp_path), **variables},
            capture_output=True, text=True, check=True, cwd=tmp_path,
        ).stdout
        for how, variables in (("adapt", {"OMP_NUM_THREADS": "2"}), ("as it is", {"OMP_NUM_THREADS": "1"}))
    }  # fmt: skip
    assert len(told) == 1


def test_other_packages_in_pythonpath_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    for name in ("yaml", "matplotlib", "snakemake", "json5"):
        (tmp_path / "modules" / f"{name}.py").write_text("raise RuntimeError('of the cluster')")
    program = str(REPOSITORY / "workflow" / "lib")
    for path in (f"{tmp_path}/modules:{program}", f"{program}::{tmp_path}/modules"):
        found = seen(tmp_path, {"HOME": str(tmp_path), "PYTHONPATH": path})
        ((subject, told, _, remedy),) = found["notes"]
        assert subject == "PYTHONPATH" and f"{tmp_path}/modules" in told and remedy == "unset PYTHONPATH"


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2), (2,)])
def test_streams_that_are_closed(tmp_path: Path, closed: tuple[int, ...]) -> None:
    """As cron and `>&-` leave them. What is written to a file afterwards is not mixed with what would be printed."""
    code = (
        f"import os, sys; [os.close(number) for number in {closed}]\n"
        "os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])"
    )
    then = (
        "import os, sys; from utopia.cli.main import main; code = main(['fetch', '--dry-run', '--data', '.'])\n"
        "file = open(sys.argv[1], 'w'); print('said'); print('told', file=sys.stderr)\n"
        "file.write('written'); file.close()\n"
        "os.write(1, b'!'); os._exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, then, tmp_path / "x"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x").read_text() == "written"
    assert "Traceback" not in done.stderr and "foresaw" not in done.stdout + done.stderr


def test_a_machine_without_which(tmp_path: Path) -> None:
    for name in ("sh", "bash", "env", "uname"):
        (tmp_path / name).symlink_to(Path("/usr/bin" if Path("/usr/bin", name).exists() else "/bin", name))
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    command = [UTOPIA, "run", "--", "--list-rules"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=REPOSITORY)
    assert done.returncode == 0 and "build_labels" in done.stdout, done.stderr
    which = REPOSITORY / "profiles" / "default" / "bin" / "which"
    for name, code in (("env", 0), ("no-such-program", 1)):
        asked = subprocess.run([which, name], env=environment, capture_output=True, text=True)
        assert asked.returncode == code and (str(tmp_path / name) in asked.stdout) == (code == 0)


def test_a_fit_environment_is_left_alone(tmp_path: Path) -> None:
    assert seen(tmp_path, {"HOME": str(tmp_path)})["notes"] == []


def test_what_is_not_used_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [UTOPIA, "run", "--study", "none-of-this-name"],
        env={**os.environ, "SNAKEMAKE_PROFILE": "slurm"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    found = subprocess.run(
        [UTOPIA, "doctor", "--json"],
        env={**os.environ, "SNAKEMAKE_PROFILE": "slurm", "TMPDIR": "/no/such/folder"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    checks = {check["check"]: check for check in json.loads(found.stdout)["checks"]}
    for name in ("SNAKEMAKE_PROFILE", "TMPDIR"):
        assert checks[name]["state"] == "warn" and checks[name]["remedy"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a repository to another account")
def test_a_checkout_of_another_account_still_names_its_commit(tmp_path: Path) -> None:
    """Git calls it dubious, and the records said that there was no repository."""
    from utopia.provenance import environment

    folder = tmp_path / "it's theirs"
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        (folder).mkdir(exist_ok=True)
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    for path in (folder, folder / ".git"):
        os.chown(path, NOBODY, NOBODY)
    plain = subprocess.run(["git", "-C", str(folder), "status"], capture_output=True, text=True)
    assert "dubious ownership" in plain.stderr
    again = subprocess.run([*environment.git_in(folder), "status", "--porcelain"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr


def test_hdf5_files_are_read_without_locks(tmp_path: Path) -> None:
    """Where the file system has none, opening a sound file fails, and it was called damaged."""
    import fcntl

    import h5py

    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    code = f"import utopia, h5py; print(h5py.File({str(path)!r}, 'r')['x'][()])"
    with path.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        plain = {name: value for name, value in os.environ.items() if name != "HDF5_USE_FILE_LOCKING"}
        done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, timeout=60)
    assert done.stdout == "1\n", done.stderr


@pytest.mark.parametrize(
    "command", [["compare"], ["open", "--print"], ["verify"], ["explain", "ulda_table_2"]], ids=lambda words: words[0]
)
def test_a_folder_of_another_checkout(tmp_path: Path, command: list[str]) -> None:
    """The command says where it works, and in full which folder is empty; that of the other checkout is not."""
    there = tmp_path / "my copy"
    (there / "workflow" / "lib" / "utopia" / "cli").mkdir(parents=True)
    tables = there / "results" / "none" / "tables"
    tables.mkdir(parents=True)
    (tables / "ulda_table_2.csv").write_text("cell\n")
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"results: {tmp_path / 'nothing'}\n")
    done = forked.utopia(*command, "--study", "miniature", "--configfile", settings, cwd=tables)
    warning, remedy, error, *_ = done.stderr.splitlines()
    assert done.returncode == 1 and done.stdout == ""
    assert f"belongs to {REPOSITORY} and works there, not in {there}" in warning
    assert f"cd '{there}' && make setup" in remedy
    assert error.startswith(f"{tmp_path}/nothing/miniature")
    assert "make results STUDY=miniature" in done.stderr and "--configfile FILE" in done.stderr


def test_folders_that_are_no_other_checkout(tmp_path: Path) -> None:
    """This checkout, by its own name or by a link's, and any folder of none, even one that is gone."""
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "workflow").symlink_to(REPOSITORY / "workflow")
    (tmp_path / "gone").mkdir()
    asked = "from utopia.cli import surroundings as s; from pathlib import Path; import sys, os; os.chdir(sys.argv[1]);"
    asked += "sys.argv[1].endswith('gone') and os.rmdir(sys.argv[1]); print(s.other_checkout(Path(sys.argv[2])))"
    for folder in (REPOSITORY, REPOSITORY / "docs", tmp_path, tmp_path / "linked", tmp_path / "gone"):
        done = subprocess.run(
            [sys.executable, "-c", asked, folder, REPOSITORY],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout == "None\n", done.stderr
