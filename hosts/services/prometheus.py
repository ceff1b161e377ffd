"""Prometheus on the monitoring server: what it asks, how long it keeps it, and when it raises an alarm."""

from collections.abc import Iterable
from dataclasses import dataclass

from hosts.configuration import Directory, HostFile, Service, address_of
from hosts.services.base import AUTHORITY
from hosts.services.exporters import NGINX_PORT, NODE_PORT, PGBOUNCER_PORT, POSTGRESQL_PORT, REDIS_PORT, REQUESTS_PORT
from hosts.services.patroni import TTL_SECONDS
from hosts.services.redis import SAVE_EVERY_SECONDS
from hosts.services.wireguard import DEAD_SECONDS
from hosts.specification import HostSpecification, MonitoringService, Peer
from hosts.templating import render_template

PORT, BLACKBOX_PORT = 9090, 9115
"""On the loopback interface: Grafana is beside it, and administrators come through SSH."""

PATRONI_PORT = 8008
"""Patroni's own, which tells metrics beside who leads, over TLS with the server's certificate (its documentation, "REST API")."""

_RULES = "/etc/prometheus/rules"
_LABELS = {name: f"{{{{ $labels.{name} }}}}" for name in ("server", "region", "url", "path", "mountpoint", "job", "kind", "peer")} | {
    "value": "{{ printf `%.0f` $value }}",
    "failed_unit": "{{ $labels.name }}",
    "duration": "{{ humanizeDuration $value }}",
}
"""What Prometheus fills into the text of an alert, under the names that the templates use for it."""


@dataclass(frozen=True)
class _Job:
    """An exporter, and the services of a server that have it; an empty `service` means every server, and `votes` those with etcd.

    `authority` is the file of the authority that certifies an exporter that speaks TLS.
    """

    name: str
    port: int
    service: str = ""
    role: str = ""
    votes: bool = False
    authority: str = ""

    def is_on(self, server: Peer) -> bool:
        """Whether the server has it."""
        runs = not self.service or self.service in server.services
        return runs and self.role in ("", server.role) and (server.etcd or not self.votes)


_PATRONI = _Job("patroni", PATRONI_PORT, "postgresql", votes=True, authority=AUTHORITY)
_JOBS = (
    _Job("node", NODE_PORT),
    _Job("nginx", NGINX_PORT, "application", "app"),
    _Job("requests", REQUESTS_PORT, "application", "app"),
    _Job("postgresql", POSTGRESQL_PORT, "postgresql"),
    # Where there are enough database servers for a vote, Patroni runs PostgreSQL.
    _PATRONI,
    _Job("pgbouncer", PGBOUNCER_PORT, "pgbouncer"),
    _Job("redis", REDIS_PORT, "redis"),
)


def prometheus(host: HostSpecification) -> Service | None:
    """Prometheus with its rules, and the prober that asks for the application's health as a user would."""
    monitoring = host.monitoring
    if not monitoring:
        return None
    data = f"{host.data_mount}/prometheus" if host.data_mount else "/var/lib/prometheus/metrics2"
    servers = watched(host)
    rules = _rules(monitoring, servers)
    return Service(
        name="prometheus",
        packages=("prometheus", "prometheus-blackbox-exporter"),
        directories=(Directory(path=data, owner="prometheus", group="prometheus", mode=0o750), Directory(path=_RULES)),
        files=(
            HostFile(path="/etc/prometheus/prometheus.yml", content=_configuration(host, monitoring, servers)),
            HostFile(path="/etc/prometheus/blackbox.yml", content=render_template("prometheus/blackbox.yml")),
            *(HostFile(path=f"{_RULES}/{name}", content=content) for name, content in rules.items()),
            _arguments(
                "prometheus",
                f"--web.listen-address=127.0.0.1:{PORT}",
                f"--storage.tsdb.path={data}",
                f"--storage.tsdb.retention.time={monitoring.retention_days}d",
            ),
            _arguments(
                "prometheus-blackbox-exporter",
                f"--web.listen-address=127.0.0.1:{BLACKBOX_PORT}",
                "--config.file=/etc/prometheus/blackbox.yml",
            ),
            # Half of the server: the rest is Grafana's, Loki's and the page cache's, which Prometheus reads its blocks through.
            # Beside the application it must not take what the stores were promised.
            sandbox("prometheus", memory_mb=host.memory_mb // (2 if host.role == "monitoring" else 8), writable=data),
            sandbox("prometheus-blackbox-exporter", memory_mb=128),
        ),
        absent=tuple(f"{_RULES}/{name}" for name in RULE_FILES if name not in rules),
        checks=(
            "promtool check config /etc/prometheus/prometheus.yml",
            "prometheus-blackbox-exporter --config.check --config.file=/etc/prometheus/blackbox.yml",
        ),
        units=("prometheus.service", "prometheus-blackbox-exporter.service"),
        probe=f"curl -fsS -o /dev/null http://127.0.0.1:{PORT}/-/ready && curl -fsS -o /dev/null http://127.0.0.1:{BLACKBOX_PORT}/-/healthy",
    )


def watched(host: HostSpecification) -> tuple[Peer, ...]:
    """The servers that a monitoring server asks: itself, its region's, and those of regions that have no monitoring server.

    Other regions' are left to their own: a cut between regions must not blind either side.
    """
    fields = ("application", "postgresql", "pgbouncer", "redis", "monitoring")
    running = tuple(field for field in fields if getattr(host, field) is not None)
    itself = Peer(host.name, host.role, address_of(host), host.region, host.etcd, running)
    return (itself, *(peer for peer in host.peers if monitor_of(peer.region, (itself, *host.peers)) == itself))


def monitor_of(region: str, servers: Iterable[Peer]) -> Peer | None:
    """The server with the monitoring of a region: the region's own, else the first of the stack, else None."""
    monitors = [server for server in servers if "monitoring" in server.services]
    return next((server for server in monitors if server.region == region), min(monitors, key=lambda server: server.name, default=None))


def sandbox(unit: str, *, memory_mb: int, writable: str = "") -> HostFile:
    """A drop-in that lets a unit of this server's monitoring write to one directory only, and starts it again whenever it ends."""
    return HostFile(
        path=f"/etc/systemd/system/{unit}.service.d/rungway.conf",
        content=render_template("prometheus/sandbox.conf", memory_mb=memory_mb, writable=writable),
    )


def _arguments(unit: str, *arguments: str) -> HostFile:
    return HostFile(path=f"/etc/default/{unit}", content=f'ARGS="{" ".join(arguments)}"\n')


def _configuration(host: HostSpecification, monitoring: MonitoringService, servers: Iterable[Peer]) -> str:
    jobs = []
    for job in _JOBS:
        targets = [
            {"address": f"{address_of(server)}:{job.port}", "server": server.name, "role": server.role, "region": server.region}
            for server in servers
            if job.is_on(server)
        ]
        if targets:
            jobs.append({"name": job.name, "authority": job.authority, "targets": targets})
    return render_template("prometheus/prometheus.yml", jobs=jobs, host=host, probe_urls=monitoring.probe_urls)


RULE_FILES = ("servers.yml", "requests.yml", "postgresql.yml", "patroni.yml", "redis.yml", "backups.yml")


def _rules(monitoring: MonitoringService, servers: Iterable[Peer]) -> dict[str, str]:
    """The rules of what is watched. Whoever watches the primary region also says when it has no primary."""
    services = {service for server in servers for service in server.services}
    sees_primary = any(server.region == monitoring.primary_region for server in servers)
    primary = monitoring.primary_region if sees_primary else ""
    values = {
        "limits": monitoring.thresholds,
        "primary": primary,
        "ttl_seconds": TTL_SECONDS,
        "save_every_seconds": SAVE_EVERY_SECONDS,
        "link_dead_seconds": DEAD_SECONDS,
        "redis": "redis" in services,
        "every_hours": monitoring.backup_every_hours,
        **_LABELS,
    }
    wanted = ["servers.yml", "requests.yml"]
    wanted += [f"{store}.yml" for store in ("postgresql", "redis") if store in services]
    wanted += ["patroni.yml"] * any(_PATRONI.is_on(server) for server in servers)
    wanted += ["backups.yml"] * bool(monitoring.backup_every_hours and sees_primary)
    return {name: render_template(f"prometheus/{name}", **values) for name in wanted}
