"""A database server, for tests of what runs on it."""

from dataclasses import replace
from typing import Any

from hosts.specification import BackupService, HostSpecification, Peer, PostgresqlService

BACKUP = BackupService(
    bucket="shop-backups",
    full_every_hours=24,
    incremental_every_hours=6,
    retention_days=14,
    recovery_point_minutes=5,
    recovery_time_minutes=60,
)
POSTGRESQL = PostgresqlService(
    version=17,
    primary=True,
    memory_mb=0,
    max_connections=100,
    reserved_connections=10,
    synchronous_commit=False,
    standbys=0,
    clients=40,
)


def database_host(number: int = 1, *, nodes: int = 1, **changes: Any) -> HostSpecification:
    """The server database-eu-NUMBER of `nodes`, with 4 cores, a data volume and backups; with 2 nodes monitoring-eu-1 votes too."""
    peers = [Peer(f"database-eu-{other}", "database", _address(other), "eu", nodes > 1) for other in range(1, nodes + 1) if other != number]
    peers.append(Peer("monitoring-eu-1", "monitoring", "10.0.4.10", "eu", nodes == 2))
    arguments: dict[str, Any] = {
        "name": f"database-eu-{number}",
        "role": "database",
        "provider": "hetzner",
        "location": "nbg1",
        "region": "eu",
        "cores": 4,
        "memory_mb": 8192,
        "disk_gb": 80,
        "architecture": "x86",
        "private_address": _address(number),
        "public": False,
        "jump_host": "monitoring-eu-1",
        "data_mount": "/srv/data",
        "peers": tuple(peers),
        "postgresql": replace(POSTGRESQL, standbys=nodes - 1, primary=number == 1),
        "backup": BACKUP,
        "etcd": nodes > 1,
    }
    return HostSpecification(**(arguments | changes))


def _address(number: int) -> str:
    return f"10.0.2.{9 + number}"
