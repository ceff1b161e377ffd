"""pgbench on three PostgreSQL clusters with the same data: the distribution's defaults, Rungway's tuning, and PGTune's.

All three run at once on Unix sockets and take turns, round after round, so that what else happens on the machine hits each of them. The
medians of read-write (TPC-B) and read-only transactions are printed, and their ratio to the defaults. Each cluster believes that it is on
a server of --memory-mb and --cores. Run it with `python bench/postgres.py`; started by root it continues as the account nobody.
"""

import argparse
import math
import os
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hosts import tuning
from hosts.specification import HostSpecification, PostgresqlService

WORKLOADS = {"read-write": (), "read-only": ("--select-only",)}
UNPRIVILEGED = "nobody"


def pgtune(memory_mb: int, cores: int, connections: int, version: int) -> dict[str, str]:
    """PGTune's answer for a web application on SSD and Linux.

    The formulas of github.com/le0pard/pgtune, src/features/configuration/configurationSlice.js, commit 01bb644, in kB as there.
    """
    memory_kb = memory_mb * 1024
    shared_kb = memory_kb // 4
    workers = cores if cores >= 4 else 8
    values = {
        "max_connections": str(connections),
        "shared_buffers": f"{shared_kb}kB",
        "effective_cache_size": f"{memory_kb * 3 // 4}kB",
        "maintenance_work_mem": f"{min(memory_kb // 16, 8 * 1024**2)}kB",
        "checkpoint_completion_target": "0.9",
        "wal_buffers": f"{_pgtune_wal_buffers_kb(shared_kb)}kB",
        "default_statistics_target": "100",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "work_mem": f"{max(4096, (memory_kb - shared_kb) // ((connections + workers) * 3))}kB",
        "huge_pages": "try" if shared_kb >= 2 * 1024**2 else "off",
        "min_wal_size": "1GB",
        "max_wal_size": "4GB",
        "jit": "off",
        "wal_compression": "lz4" if version >= 15 else "on",
    }
    if cores >= 4:
        half = str(min(4, math.ceil(cores / 2)))
        values |= {"max_worker_processes": str(cores), "max_parallel_workers": str(cores)}
        values |= {"max_parallel_workers_per_gather": half, "max_parallel_maintenance_workers": half}
    return values


def _pgtune_wal_buffers_kb(shared_kb: int) -> int:
    share = min(3 * shared_kb // 100, 16 * 1024)
    return 16 * 1024 if share > 14 * 1024 else max(32, share)


def ours(memory_mb: int, cores: int, connections: int, version: int) -> dict[str, str]:
    """Rungway's answer for a database server of that size."""
    database = PostgresqlService(
        version=version,
        primary=True,
        memory_mb=0,
        max_connections=connections,
        reserved_connections=10,
        synchronous_commit=False,
        standbys=0,
        clients=connections - 10,
    )
    host = HostSpecification(
        name="bench",
        role="database",
        provider="hetzner",
        location="nbg1",
        region="eu",
        cores=cores,
        memory_mb=memory_mb,
        disk_gb=40,
        architecture="x86",
        private_address=None,
        public=False,
        jump_host=None,
        data_mount=None,
        postgresql=database,
    )
    return tuning.tuned(tuning.POSTGRESQL, host)


class Binaries:
    """The newest PostgreSQL of this machine; its programs run as an unprivileged account when root asks."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
        on_path = shutil.which("postgres")
        if not found and not on_path:
            raise SystemExit("found no PostgreSQL in /usr/lib/postgresql or on PATH; allowed: an installed server")
        self.directory = found[-1].parent if found else Path(str(on_path)).parent
        self.user = UNPRIVILEGED if os.geteuid() == 0 else None
        self.version = int(re.findall(r"\d+", self.run("postgres", "--version"))[0])
        self.parameters = {line.split("\t")[0] for line in self.run("postgres", "--describe-config").splitlines()}

    def run(self, program: str, *arguments: str) -> str:
        """What the program prints.

        Raises:
            SystemExit: it failed; the text is its own.
        """
        done = subprocess.run([str(self.directory / program), *arguments], capture_output=True, text=True, user=self.user, cwd="/")
        if done.returncode:
            raise SystemExit(f"{program}: {done.stderr.strip()}")
        return done.stdout


@contextmanager
def cluster(binaries: Binaries, directory: Path, parameters: dict[str, str], scale: int) -> Iterator[Path]:
    """A running cluster with pgbench's tables; its socket is in the directory that this yields."""
    directory.mkdir()
    if binaries.user:
        shutil.chown(directory, binaries.user)
    data = directory / "data"
    binaries.run("initdb", "--pgdata", str(data), "--username=bench", "--auth=trust", "--data-checksums", "--locale=C.UTF-8")
    settings = parameters | {"listen_addresses": "", "unix_socket_directories": str(directory)}
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    binaries.run("pg_ctl", "start", "--wait", "--silent", "--pgdata", str(data), "--log", str(directory / "log"))
    try:
        binaries.run("pgbench", "--initialize", "--quiet", f"--scale={scale}", *_connection(directory))
        yield directory
    finally:
        binaries.run("pg_ctl", "stop", "--wait", "--silent", "--mode=immediate", "--pgdata", str(data))


def transactions_per_second(binaries: Binaries, socket: Path, workload: str, clients: int, seconds: int) -> float:
    """Of pgbench, without the time that connecting takes."""
    said = binaries.run(
        "pgbench",
        *WORKLOADS[workload],
        "--no-vacuum",
        "--protocol=prepared",
        f"--client={clients}",
        f"--jobs={min(clients, os.cpu_count() or 1)}",
        f"--time={seconds}",
        *_connection(socket),
    )
    return float(re.findall(r"tps = ([0-9.]+)", said)[-1])


def _connection(socket: Path) -> tuple[str, ...]:
    return ("--host", str(socket), "--username=bench", "postgres")


def known(binaries: Binaries, name: str, parameters: dict[str, str]) -> dict[str, str]:
    """The parameters without those that this version does not know, which are named aloud."""
    unknown = sorted(set(parameters) - binaries.parameters)
    if unknown:
        print(f"{name}: left out, unknown to PostgreSQL {binaries.version}: {', '.join(unknown)}")
    return {key: value for key, value in parameters.items() if key not in unknown}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=15, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each workload on each cluster")
    parser.add_argument("--scale", type=int, default=50, help="pgbench's scale: 100 000 accounts, about 15 MB, each")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--memory-mb", type=int, default=4096, help="memory of the server that is tuned for")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()

    binaries = Binaries()
    connections = tuning.max_connections(asked.memory_mb)
    size = (asked.memory_mb, asked.cores, connections, binaries.version)
    variants: dict[str, dict[str, str]] = {"defaults": {}, "rungway": ours(*size), "pgtune": pgtune(*size)}
    results: dict[tuple[str, str], list[float]] = {(name, workload): [] for name in variants for workload in WORKLOADS}
    print(
        f"PostgreSQL {binaries.version}, {asked.memory_mb} MiB and {asked.cores} cores, scale {asked.scale}, {asked.clients} clients, "
        f"{asked.rounds} rounds of {asked.seconds} s",
        flush=True,
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as running:
        os.chmod(folder, 0o755)  # noqa: S103 (the unprivileged account must get through)
        sockets = {
            name: running.enter_context(cluster(binaries, Path(folder) / name, known(binaries, name, parameters), asked.scale))
            for name, parameters in variants.items()
        }
        for _ in range(asked.rounds):
            for workload in WORKLOADS:
                for name, socket in sockets.items():
                    results[name, workload].append(transactions_per_second(binaries, socket, workload, asked.clients, asked.seconds))
    print(f"{'workload':<12}" + "".join(f"{name:>14}" for name in variants) + f"{'rungway':>12}{'pgtune':>9}")
    for workload in WORKLOADS:
        medians = {name: statistics.median(results[name, workload]) for name in variants}
        ratios = (medians["rungway"] / medians["defaults"], medians["pgtune"] / medians["defaults"])
        print(f"{workload:<12}" + "".join(f"{tps:>10.0f} tps" for tps in medians.values()) + f"{ratios[0]:>11.2f}x{ratios[1]:>8.2f}x")


if __name__ == "__main__":
    main()
