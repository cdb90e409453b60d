"""A real Slurm on this machine alone, without systemd or accounting: started, asked and stopped by its own files."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SYSTEM_PATH = "/usr/sbin:/sbin"
DAEMONS = ("munged", "slurmctld", "slurmd")
SRUN = """#!/bin/sh
# Snakemake's plugin starts a job's step in an environment without SLURM_CONF.
SLURM_CONF={configuration}; export SLURM_CONF
exec {srun} "$@"
"""


ACCOUNT = "lab"
SACCTMGR = f"""#!/bin/sh
# There is no accounting to say which accounts a user has, and Snakemake's plugin asks.
echo {ACCOUNT}
"""


class OneNodeSlurm:
    """Slurm's daemons in a folder of their own under the system's temporary folder; `environment` reaches them."""

    def __init__(self) -> None:
        """Write the configuration. Raises RuntimeError where a daemon is not installed."""
        search = os.pathsep.join([os.environ["PATH"], SYSTEM_PATH])
        programs = {name: shutil.which(name, path=search) for name in (*DAEMONS, "srun")}
        absent = [name for name, path in programs.items() if path is None]
        if absent:
            raise RuntimeError(f"no {', '.join(absent)}: run tests/cluster/install-slurm, or make cluster-test")
        # Not pytest's folder: a socket's path holds 107 characters, and munged wants every parent open to all.
        self.root = Path(tempfile.mkdtemp(prefix="turncoat-slurm-"))
        self.root.chmod(0o755)
        for folder in ("etc", "run", "log", "state", "spool", "bin"):
            (self.root / folder).mkdir()
        configuration = self.root / "etc" / "slurm.conf"
        filled = {
            "@ROOT@": str(self.root),
            "@HOST@": socket.gethostname().split(".")[0],
            "@CONTROLLER_PORT@": str(_free_port()),
            "@NODE_PORT@": str(_free_port()),
        }
        for name in ("slurm.conf", "gres.conf"):
            text = (HERE / f"{name}.template").read_text()
            for mark, value in filled.items():
                text = text.replace(mark, value)
            (configuration.parent / name).write_text(text)
        first_on_path = self.root / "bin"
        srun = SRUN.format(configuration=configuration, srun=programs["srun"])
        for name, script in (("srun", srun), ("sacctmgr", SACCTMGR)):
            (first_on_path / name).write_text(script)
            (first_on_path / name).chmod(0o755)
        self.environment = os.environ | {
            "SLURM_CONF": str(configuration),
            "PATH": os.pathsep.join([str(first_on_path), search]),
        }

    def start(self, seconds: float = 60) -> None:
        """Start the daemons and wait until the node takes jobs; RuntimeError with their logs where it does not."""
        key = self.root / "etc" / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        run, log = self.root / "run", self.root / "log"
        self._daemon(
            "munged", f"--key-file={key}", f"--socket={run / 'munge.sock'}", f"--pid-file={run / 'munged.pid'}",
            f"--log-file={log / 'munged.log'}", f"--seed-file={run / 'munged.seed'}", "--num-threads=4",
        )  # fmt: skip
        self._daemon("slurmctld")
        self._daemon("slurmd")
        end = time.monotonic() + seconds
        while self.ask("sinfo", "--noheader", "--format=%T", check=False) != "idle":
            if time.monotonic() > end:
                raise RuntimeError(f"Slurm's node is not ready after {seconds:g} s\n{self.logs()}")
            time.sleep(0.2)

    def ask(self, *command: str, check: bool = True) -> str:
        """What one of Slurm's programs prints."""
        done = subprocess.run(command, env=self.environment, text=True, capture_output=True, timeout=120, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}\n{self.logs()}")
        return done.stdout.strip()

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that the controller remembers, as the fields of `scontrol show job`."""
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        parts = ([word.split("=", 1) for word in line.split() if "=" in word] for line in lines)
        return [dict(part) for part in parts if dict(part).get("JobId")]

    def logs(self) -> str:
        """The end of each daemon's log."""
        return "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in (self.root / "log").glob("*.log"))

    def stop(self) -> None:
        """Cancel all jobs, end the daemons by their own pid files, and remove the folder."""
        self.ask("scancel", "--user", "root", check=False)
        for name in reversed(DAEMONS):
            file = self.root / "run" / f"{name}.pid"
            if file.is_file():
                process = int(file.read_text())
                os.kill(process, signal.SIGTERM)
                end = time.monotonic() + 15
                while file.exists() and time.monotonic() < end:
                    time.sleep(0.1)
        shutil.rmtree(self.root, ignore_errors=True)

    def _daemon(self, name: str, *options: str) -> None:
        done = subprocess.run([name, *options], env=self.environment, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{name} did not start: {done.stderr}\n{self.logs()}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
