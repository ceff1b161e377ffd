"""Grafana with what it shows beside Prometheus: Loki for logs, Tempo for traces, and Alloy, an OpenTelemetry collector, which feeds both.

Debian has none of them, so they run in containers. Alerts do not depend on them: Prometheus and Alertmanager are Debian's.
"""

from hosts.configuration import Account, Directory, HostFile, Service, address_of, secret
from hosts.services.alertmanager import PORT as ALERTMANAGER_PORT
from hosts.services.base import TLS_FILES
from hosts.services.logs import journal_directory
from hosts.services.prometheus import PORT as PROMETHEUS_PORT
from hosts.specification import HostSpecification, Peer
from hosts.templating import TEMPLATES, render_template

IMAGES = {
    "grafana": "docker.io/grafana/grafana:12.1.1",
    "loki": "docker.io/grafana/loki:3.5.3",
    "tempo": "docker.io/grafana/tempo:2.8.2",
    "alloy": "docker.io/grafana/alloy:v1.10.2",
}
"""The images, each with its exact version."""

MEMORY_MB = {"grafana": 384, "loki": 768, "tempo": 512, "alloy": 384}
"""The most memory that each container may take, in MiB: about twice what it is expected to use (`hosts.budgets`)."""

GRAFANA_PORT, LOKI_PORT, TEMPO_PORT, TEMPO_OTLP_PORT, ALLOY_PORT = 3000, 3100, 3200, 14317, 12345
"""On the loopback interface. Administrators reach Grafana through SSH: ssh -L 3000:127.0.0.1:3000."""

OTLP_GRPC_PORT, OTLP_HTTP_PORT = 4317, 4318
"""Where traces are received, on the private address: OpenTelemetry's own ports."""

DASHBOARDS = ("overview", "requests", "postgresql", "redis")
"""The dashboards of hosts/templates/grafana/dashboards; Grafana shows them, and keeps no change to them."""

_ROOT = "/etc/rungway/observability"
_USER = "observability"


def collects_traces(server: HostSpecification | Peer) -> bool:
    """Whether the collector runs on a server with monitoring: not beside an application."""
    return server.role == "monitoring"


def grafana(host: HostSpecification) -> Service | None:
    """Grafana, Loki, Tempo and Alloy by Docker Compose (service `containers`).

    Only on a server of their own: beside the application they would take more memory than it does, and alerts do not need them.
    """
    monitoring = host.monitoring
    if not monitoring or not collects_traces(host):
        return None
    data = f"{host.data_mount}/observability" if host.data_mount else "/var/lib/rungway/observability"
    hours = monitoring.retention_days * 24
    ports = {
        "grafana_port": GRAFANA_PORT,
        "loki_port": LOKI_PORT,
        "tempo_port": TEMPO_PORT,
        "tempo_otlp_port": TEMPO_OTLP_PORT,
        "alloy_port": ALLOY_PORT,
        "otlp_grpc_port": OTLP_GRPC_PORT,
        "otlp_http_port": OTLP_HTTP_PORT,
        "prometheus_port": PROMETHEUS_PORT,
        "alertmanager_port": ALERTMANAGER_PORT,
    }
    rendered = {
        "compose.yaml": render_template(
            "grafana/compose.yaml", images=IMAGES, memory_mb=MEMORY_MB, root=_ROOT, data=data, journals=journal_directory(host), **ports
        ),
        "loki.yaml": render_template("grafana/loki.yaml", hours=hours, **ports),
        "tempo.yaml": render_template("grafana/tempo.yaml", hours=hours, **ports),
        "config.alloy": render_template("grafana/config.alloy", address=address_of(host), **ports),
        "provisioning/datasources/rungway.yaml": render_template("grafana/datasources.yaml", **ports),
        "provisioning/dashboards/rungway.yaml": render_template("grafana/dashboards.yaml"),
    }
    # As they are: a dashboard's own {{server}} is Grafana's, not a template's.
    rendered |= {f"dashboards/{name}.json": (TEMPLATES / f"grafana/dashboards/{name}.json").read_text() for name in DASHBOARDS}
    return Service(
        name="grafana",
        accounts=(Account(name=_USER),),
        directories=tuple(
            Directory(path=f"{data}/{name}", owner=owner, group=owner, mode=0o750)
            for name, owner in (("grafana", _USER), ("loki", _USER), ("tempo", _USER), ("alloy", "root"))
        ),
        files=(
            *(HostFile(path=f"{_ROOT}/{name}", content=content) for name, content in rendered.items()),
            HostFile(path=f"{_ROOT}/grafana-admin", content=secret("grafana-admin"), owner=_USER, group=_USER, mode=0o400),
            HostFile(
                path="/etc/systemd/system/rungway-observability.service",
                content=render_template("grafana/unit.service", root=_ROOT, data=data),
            ),
        ),
        reads=TLS_FILES,
        checks=(f"OBSERVABILITY_USER=0:0 docker compose --file {_ROOT}/compose.yaml config --quiet",),
        units=("rungway-observability.service",),
        probe=f"curl -fsS -o /dev/null http://127.0.0.1:{GRAFANA_PORT}/api/health && curl -fsS -o /dev/null http://127.0.0.1:{LOKI_PORT}/ready",
        # The first start downloads the images, and Loki waits 15 seconds before it calls itself ready.
        probe_seconds=600,
    )
