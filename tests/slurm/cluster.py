"""A real SLURM on this machine's loopback: controller, nodes, munge, accounting, without systemd or cgroups.

    python tests/slurm/cluster.py start FOLDER     # installs what is missing (apt), starts, prints the nodes
    python tests/slurm/cluster.py stop FOLDER      # ends what `start` has started, by process id, and nothing else

It needs root on Debian or Ubuntu. Every node but the first has two stand-in GPUs: device nodes without a device behind
them, which SLURM counts and hands out like real ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "slurmdbd", "mariadb-server")
LINKS = Path("/etc/slurm")
"""The plugin's job step forgets SLURM_CONF before its inner srun, which then looks here."""
LOCK = Path("/run/lock/utopia-slurm.lock")


class UnavailableError(Exception):
    """SLURM is not available here, with the reason."""


def obstacle() -> str:
    """Why there can be no SLURM here; empty if there can."""
    if os.geteuid() != 0:
        return "a SLURM of our own needs root"
    if shutil.which("apt-get") is None:
        return "SLURM is installed by apt: this is no Debian or Ubuntu"
    conf = LINKS / "slurm.conf"
    if conf.exists() and not conf.is_symlink():
        return f"{conf} exists: this machine has a SLURM of its own"
    return ""


def install() -> None:
    """Install the packages that are missing, without letting them start daemons.

    Raises:
        UnavailableError: apt cannot install them.
    """
    listed = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES],
                            capture_output=True, text=True).stdout  # fmt: skip
    there = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    missing = [name for name in PACKAGES if name not in there]
    if not missing:
        return
    policy = Path("/usr/sbin/policy-rc.d")
    mine = not policy.exists()
    if mine:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in ([*apt, "update"], [*apt, "install", "-y", "--no-install-recommends", *missing]):
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                raise UnavailableError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}")
    finally:
        if mine:
            policy.unlink()


class Cluster:
    """The daemons of one cluster. All that they write is below `folder`, whose path must be readable by all users."""

    def __init__(
        self, folder: Path, nodes: int = 3, cpus: int = 4, memory_mb: int = 20_000, accounting: bool = True
    ) -> None:
        self.folder, self.accounting = folder, accounting
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.cpus, self.memory_mb = cpus, memory_mb
        self.gpu_nodes = self.nodes[1:]
        self._pids = folder / "pids.json"
        self._port = 0
        self._lock: int | None = None

    # -- life

    def start(self) -> None:
        """Start everything, and wait until every node is idle.

        Raises:
            UnavailableError: this machine cannot have a SLURM, or another one of ours is running.
        """
        reason = obstacle()
        if reason:
            raise UnavailableError(reason)
        self._lock = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnavailableError("another SLURM of this kind is running on this machine") from None
        install()
        for name in ("", "etc", "state", "log", "munge", "mysql", "gpu", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            (self.folder / name).chmod(0o755)
        self._port = _free_ports(3 + len(self.nodes))
        self._configure()
        self._start_munge()
        if self.accounting:
            self._start_accounting()
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        self.wait("idle nodes", lambda: self._states() == ["idle"] * len(self.nodes))

    def stop(self) -> None:
        """Cancel all jobs and end the daemons; nothing that this cluster has not started is touched."""
        if "slurmctld" in self._started():
            self.slurm("scancel", "--user=root", check=False)
            with contextlib.suppress(TimeoutError):
                self.wait("cancelled jobs", lambda: not self.slurm("squeue", "--noheader", check=False), 20)
        for name in reversed(list(self._started())):
            self._end(name)
        self._end_stray_processes()
        for name in ("slurm.conf", "gres.conf"):
            link = LINKS / name
            if link.is_symlink() and link.readlink() == self.folder / "etc" / name:
                link.unlink()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def start_controller(self) -> None:
        """Start slurmctld, on the state that it has kept."""
        self._run("slurmctld", ["/usr/sbin/slurmctld", "-D"])
        self.wait("slurmctld", lambda: "UP" in self.slurm("scontrol", "ping", check=False))

    def start_node(self, node: str) -> None:
        """Start a node's slurmd."""
        self._run(f"slurmd.{node}", ["/usr/sbin/slurmd", "-D", "-N", node])

    def kill(self, daemon: str) -> None:
        """End a daemon (`slurmctld`, `slurmd.n1`) with SIGKILL."""
        self._end(daemon, signal.SIGKILL)

    def power_off(self, node: str, job: str) -> None:
        """End a node's slurmd, and of a job on it every process and the daemons of its steps, all at once."""
        doomed = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "environ").read_bytes().split(b"\0")
                step = (path / "cmdline").read_bytes().startswith(f"slurmstepd: [{job}.".encode())
                if step or f"SLURM_JOB_ID={job}".encode() in words:
                    doomed.append(int(path.name))
        self.kill(f"slurmd.{node}")
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # -- questions

    def slurm(self, *command: str, check: bool = True) -> str:
        """What a SLURM command says."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def wait(self, what: str, is_so: Callable[[], Any], seconds: float = 60) -> None:
        """Wait until something is so.

        Raises:
            TimeoutError: it did not come about; with the ends of the daemons' logs.
        """
        until = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > until:
                logs = {path.name: path.read_text(errors="replace")[-1500:] for path in self.folder.glob("log/*.log")}
                raise TimeoutError(f"no {what} after {seconds:.0f} s: {json.dumps(logs, indent=1)}")
            time.sleep(0.1)

    def _states(self) -> list[str]:
        return self.slurm("sinfo", "--noheader", "--Node", "--partition=cpu", "--format=%t", check=False).split()

    # -- parts

    def _configure(self) -> None:
        etc = self.folder / "etc"
        (etc / "slurm.conf").write_text(self._slurm_conf())
        for number in (0, 1):
            device = self.folder / "gpu" / f"gpu{number}"
            if not device.exists():  # SLURM wants a device node; this one is a /dev/null
                os.mknod(device, 0o20666, os.makedev(1, 3))
        (etc / "gres.conf").write_text(
            "".join(
                f"NodeName={node} Name=gpu Type=standin File={self.folder}/gpu/gpu[0-1]\n" for node in self.gpu_nodes
            )
        )
        LINKS.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            (LINKS / name).unlink(missing_ok=True)
            (LINKS / name).symlink_to(etc / name)

    def _slurm_conf(self) -> str:
        here, host = self.folder, socket.gethostname().split(".")[0]
        storage = f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={self._port + 1}
AccountingStoragePass={here}/munge/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
"""
        lines = f"""\
ClusterName=utopia{self._port}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={self._port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={here}/munge/munge.socket
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool/%n
SlurmctldPidFile={here}/state/slurmctld.pid
SlurmdPidFile={here}/spool/slurmd.%n.pid
SlurmctldLogFile={here}/log/slurmctld.log
SlurmdLogFile={here}/log/slurmd.%n.log
MailProg=/bin/true
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
EnforcePartLimits=ALL
MinJobAge=300
KillWait=5
SlurmdTimeout=15
OverTimeLimit=0
InactiveLimit=0
GresTypes=gpu
{storage if self.accounting else "AccountingStorageType=accounting_storage/none"}
""".splitlines()
        for number, node in enumerate(self.nodes):
            gpus = " Gres=gpu:standin:2" if node in self.gpu_nodes else ""
            lines.append(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={self._port + 3 + number} "
                f"CPUs={self.cpus} RealMemory={self.memory_mb}{gpus} State=UNKNOWN"
            )
        lines.append("PartitionName=cpu Nodes=ALL Default=YES MaxTime=2880 DefMemPerCPU=500 State=UP")
        lines.append(f"PartitionName=gpu Nodes={','.join(self.gpu_nodes)} MaxTime=2880 DefMemPerCPU=500 State=UP")
        return "\n".join(lines) + "\n"

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        shutil.chown(folder, "munge", "munge")
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        shutil.chown(key, "munge", "munge")
        key.chmod(0o400)
        socket_file = folder / "munge.socket"
        files = [f"--{part}-file={folder}/munged.{part}" for part in ("pid", "log", "seed")]
        self._run(
            "munged",
            ["/usr/sbin/munged", "-F", "--force", f"--key-file={key}", f"--socket={socket_file}", *files],
            user="munge",
        )
        self.wait("munge", lambda: subprocess.run(["munge", f"--socket={socket_file}", "-n"], capture_output=True,
                                                  timeout=10).returncode == 0)  # fmt: skip

    def _start_accounting(self) -> None:
        data, sock = self.folder / "mysql", self.folder / "mysql" / "mysqld.sock"
        shutil.chown(data, "mysql", "mysql")
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}/data",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            capture_output=True, check=True,
        )  # fmt: skip
        self._run(
            "mariadbd",
            ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}/data", f"--socket={sock}",
             "--bind-address=127.0.0.1", f"--port={self._port + 2}", f"--pid-file={data}/mariadbd.pid",
             "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900",
             "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"],
            user="mysql",
        )  # fmt: skip
        client = ["mariadb", "--no-defaults", f"--socket={sock}", "-uroot"]
        self.wait(
            "mariadb",
            lambda: subprocess.run([*client, "-e", "SELECT 1"], capture_output=True, timeout=10).returncode == 0,
        )
        subprocess.run(
            [*client, "-e", "CREATE DATABASE slurm_acct_db; CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'loopback';"
             "CREATE USER 'slurm'@'localhost' IDENTIFIED BY 'loopback';"
             "GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';"
             "GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost'"],
            check=True, capture_output=True,
        )  # fmt: skip
        conf = self.folder / "etc" / "slurmdbd.conf"
        conf.write_text(
            f"""\
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge/munge.socket
DbdHost={socket.gethostname().split(".")[0]}
DbdAddr=127.0.0.1
DbdPort={self._port + 1}
SlurmUser=root
PidFile={self.folder}/state/slurmdbd.pid
LogFile={self.folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={self._port + 2}
StorageUser=slurm
StoragePass=loopback
StorageLoc=slurm_acct_db
"""
        )
        conf.chmod(0o600)
        self._run("slurmdbd", ["/usr/sbin/slurmdbd", "-D"], SLURM_CONF=str(conf))
        self.wait("slurmdbd", lambda: subprocess.run(["sacctmgr", "-n", "show", "cluster"], capture_output=True,
                                                     timeout=20).returncode == 0)  # fmt: skip
        name = f"utopia{self._port}"
        for words in (("cluster", name), ("account", "lab"), ("user", "root", "account=lab")):
            self.slurm("sacctmgr", "-i", "add", *words, *(() if words[0] == "cluster" else (f"cluster={name}",)))

    # -- processes

    def _run(self, name: str, command: list[str], user: str | None = None, **environment: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                user=user, group=user, extra_groups=None if user is None else [], cwd=self.folder / "state",
                env={**{key: value for key, value in os.environ.items() if not key.startswith("SLURM")}, **environment},
            )  # fmt: skip
        started = {**self._started(), name: [process.pid, _born(process.pid)]}
        self._pids.write_text(json.dumps(started))

    def _started(self) -> dict[str, list[int]]:
        return json.loads(self._pids.read_text()) if self._pids.is_file() else {}

    def _end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        started = self._started()
        pid, born = started.pop(name)
        if _born(pid) == born:  # a process id may have been given to another since
            os.kill(pid, how)
            until = time.monotonic() + 20
            while _born(pid) == born:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                if time.monotonic() > until:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
        self._pids.write_text(json.dumps(started))

    def _end_stray_processes(self) -> None:
        """Without cgroups a cancelled job may leave a process behind; it has this cluster's name in its environment."""
        name = (self.folder / "etc" / "slurm.conf").read_text().split("\n")[0].removeprefix("ClusterName=")
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"SLURM_CLUSTER_NAME={name}".encode() in path.read_bytes().split(b"\0"):
                    os.kill(int(path.parent.name), signal.SIGKILL)


def _born(pid: int) -> int:
    """When a process has started, in the kernel's ticks; 0 if it is no more (or only waits to be buried)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def _free_ports(count: int) -> int:
    """The first of some neighbouring ports that are free."""
    for base in range(26800, 32000, 16):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(base, base + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise UnavailableError("no free ports between 26800 and 32000")


def new_folder() -> Path:
    """A folder that munge's and the database's users can reach."""
    folder = Path(tempfile.mkdtemp(prefix="utopia-slurm-"))
    folder.chmod(0o755)
    return folder


def main() -> None:
    """`start FOLDER` or `stop FOLDER`."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit(__doc__)
    cluster = Cluster(Path(sys.argv[2]).absolute())
    try:
        cluster.start() if sys.argv[1] == "start" else cluster.stop()
    except UnavailableError as reason:
        sys.exit(str(reason))
    if sys.argv[1] == "start":
        print(cluster.slurm("sinfo", "--Node", "--format=%N %P %t %c %m %G"))


if __name__ == "__main__":
    main()
