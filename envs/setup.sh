#!/usr/bin/env bash
# Makes .venv from the hashed locks beside this file, once. An unchanged lock costs a few milliseconds, a changed one a
# re-sync; a set-up that was killed is regenerated. PYTHON=/path/to/python3 chooses the interpreter.
set -euo pipefail
unset CDPATH # `cd` would go elsewhere and print where

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
cd "$here/.."
root="$PWD"
venv=.venv
stamp="$venv/.complete"

imports="import utopia, snakemake.cli, snakemake_executor_plugin_slurm, torch, torchvision, scipy.stats, matplotlib.figure
import snakemake_executor_plugin_slurm_jobstep"

say() { printf 'set-up: %s\n' "$*" >&2; }
die() {
    printf 'set-up failed: %s\n' "$1" >&2
    shift
    printf '  %s\n' "$@" >&2
    exit 1
}

# pip and uv need a cache and a folder for temporary files. An account without a home folder of its own (a container's,
# HOME=/) has neither; both then lie in .venv until the set-up is over.
own="$venv/.set-up"
adapt() {
    if [[ -n "${TMPDIR:-}" && ! (-d "$TMPDIR" && -w "$TMPDIR") ]]; then
        say "TMPDIR=$TMPDIR is no folder that can be written: it is not used"
        unset TMPDIR
    fi
    if [[ -z "${TMPDIR:-}" && ! -w /tmp ]]; then
        mkdir -p "$own/tmp"
        export TMPDIR="$root/$own/tmp"
    fi
    local cache="${XDG_CACHE_HOME:-${HOME:-}/.cache}"
    if [[ -n "${XDG_CACHE_HOME:-}${HOME:-}" && ! -d "$cache" && -d "${cache%/*}/" ]]; then mkdir "$cache" 2> /dev/null || true; fi
    if [[ -z "${XDG_CACHE_HOME:-}${HOME:-}" || ! -d "$cache" || ! -w "$cache" ]]; then
        export XDG_CACHE_HOME="$root/$own/cache"
        export UV_CACHE_DIR="${UV_CACHE_DIR:-$XDG_CACHE_HOME/uv}" PIP_CACHE_DIR="${PIP_CACHE_DIR:-$XDG_CACHE_HOME/pip}"
        [[ -n "${HOME:-}" ]] || export HOME="$root/$own"
    fi
    export PYTHONUTF8=1
}

sha256() {
    if command -v sha256sum > /dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

# What the environment is made from. The folder belongs to it: a virtual environment does not survive being moved.
wanted() {
    printf '%s\n' "$root"
    sha256 envs/bootstrap.txt envs/requirements.txt pyproject.toml envs/setup.sh
}

up_to_date() {
    [[ -f "$stamp" && -x "$venv/bin/python" && "$(cat "$stamp")" == "$(wanted)" ]]
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1
}

# The interpreter behind a virtual environment or a shim: .venv itself may be the one that is active, and is about to go.
base_of() {
    "$1" -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)'
}

find_python() {
    local name seen=()
    if [[ -n "${PYTHON:-}" ]]; then
        command -v "$PYTHON" > /dev/null || die "PYTHON=$PYTHON is not a program" \
            "set PYTHON to a Python 3.11 or newer, or leave it unset"
        new_enough "$PYTHON" || die "PYTHON=$PYTHON is $("$PYTHON" --version 2>&1), and Python 3.11 or newer is needed" \
            "set PYTHON to a newer one, or leave it unset"
        base_of "$PYTHON"
        return
    fi
    for name in python3.13 python3.12 python3.11 python3; do
        command -v "$name" > /dev/null || continue
        # A version manager's shim may be in PATH for a version that is not active.
        if new_enough "$name"; then
            base_of "$name"
            return
        fi
        seen+=("$name is $("$name" --version 2>&1 | tail -n 1)")
    done
    die "no Python 3.11 or newer was found" "${seen[@]:-there is no python3 in PATH}" \
        "install one (for example: apt install python3 python3-venv; brew install python)" \
        "or name one that you have: make results PYTHON=/path/to/python3"
}

require_venv() {
    "$1" -c 'import ssl' > /dev/null 2>&1 || die "$1 has no ssl module: it cannot reach a package registry" \
        "name another Python: make results PYTHON=/path/to/python3"
    "$1" -c 'import ensurepip, venv' > /dev/null 2>&1 && return
    local version
    version="$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    die "$1 (Python $version) cannot make virtual environments: its venv or ensurepip module is missing" \
        "Debian and Ubuntu ship it apart: apt install python3-venv (or python$version-venv)" \
        "or name another Python: make results PYTHON=/path/to/python3" \
        "or use conda: conda env create -f envs/environment.yaml"
}

# Two set-ups at once: the second waits. Python's flock is there wherever this can run at all; the descriptor stays open
# over exec, and the lock falls with the process, however that ends.
take_lock() {
    mkdir -p "$venv"
    UTOPIA_SETUP_LOCK="$$" exec "$1" - "$venv/.setup-lock" "$here/setup.sh" << 'PYTHON'
import fcntl, os, sys

lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("set-up: another set-up is running here; waiting for it (Ctrl-C ends this one)", file=sys.stderr, flush=True)
    fcntl.flock(lock, fcntl.LOCK_EX)
except OSError as error:
    print(f"set-up: this file system has no locks ({error.strerror}): start no second set-up here", file=sys.stderr)
os.set_inheritable(lock, True)
os.execvp("bash", ["bash", sys.argv[2]])
PYTHON
}

install() {
    local python="$1" started=$SECONDS fresh="" uv="$venv/bin/uv"
    adapt
    if [[ ! -f "$stamp" || ! -x "$venv/bin/python" || "$(head -n 1 "$stamp")" != "$root" ]] || ! new_enough "$venv/bin/python"; then
        fresh=yes
    fi
    # Without its stamp an environment is not trusted: it may lack files of a package that it lists.
    rm -f "$stamp"
    if [[ -n "$fresh" ]]; then
        say "making $venv with $python ($("$python" --version 2>&1)); once, and about 5 GB"
        find "$venv" -mindepth 1 -maxdepth 1 ! -name .setup-lock -exec rm -rf {} +
        "$python" -m venv "$venv" || die "$python could not make a virtual environment" \
            "the reason stands above; a full disk and a missing python3-venv are the usual ones"
    else
        say "the locks have changed: bringing $venv up to date"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/bootstrap.txt ||
        die "pip could not install uv from envs/bootstrap.txt" "is the package registry reachable? is the disk full?"
    say "installing what envs/requirements.txt pins (a minute or two; about 2.5 GB to fetch where nothing is cached)"
    "$uv" pip sync --quiet --python "$venv/bin/python" --require-hashes envs/requirements.txt ||
        die "uv could not install envs/requirements.txt" \
            "the reason stands above: a registry that is not reachable, a full disk, or a file whose hash is not the locked one" \
            "then run the same command again"
    "$uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable . ||
        die "the project itself could not be installed" "the reason stands above"
    # As a relative path: Python reads this file in the encoding of the locale, which under LC_ALL=C is ASCII.
    for path in "$venv"/lib/python*/site-packages/*utopia*.pth; do printf '../../../../workflow/lib\n' > "$path"; done
    # With what jobs import: Python keeps the compiled code, and each of thousands of processes starts twice as fast, also
    # where it may keep none later (another account's container; PYTHONDONTWRITEBYTECODE).
    env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -c "$imports" ||
        die "the environment is made, but its packages cannot be imported" \
            "the reason stands above" "remove $venv and run the same command again"
    rm -rf "$own"
    wanted > "$stamp.new"
    mv -f "$stamp.new" "$stamp"
    say "done in $((SECONDS - started)) s"
}

if up_to_date; then exit 0; fi
python="$(find_python)"
if [[ -z "${UTOPIA_SETUP_LOCK:-}" ]]; then
    require_venv "$python"
    take_lock "$python"
fi
# A set-up that this one waited for may have done the work.
if up_to_date; then exit 0; fi
install "$python"
