"""The exporters of a server: one for the machine, and one for each service that runs on it, on the private address alone."""

from dataclasses import dataclass

from hosts.configuration import Directory, HostFile, Service, address_of, secret
from hosts.services.base import AUTHORITY
from hosts.specification import HostSpecification
from hosts.templating import render_template

NODE_PORT, NGINX_PORT, REQUESTS_PORT, POSTGRESQL_PORT, PGBOUNCER_PORT, REDIS_PORT = 9100, 9113, 3903, 9187, 9127, 9121
"""Where each exporter listens: the ports that the exporters' makers chose."""

NGINX_STATUS_URL = "http://127.0.0.1:81/stub_status"
"""Where nginx tells its connection counts. Applications have ports from 1024, so this one is never theirs."""

REQUEST_LOG = "/var/log/nginx/requests.log"
"""Where nginx writes a line of "$status $request_time" for each request: nginx itself counts neither response times nor errors."""

TEXTFILE_DIRECTORY = "/var/lib/prometheus/node-exporter"
"""Where any service may leave metrics, as NAME.prom, for the node exporter to show."""

REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
"""Upper bounds of the histogram of response times, in seconds; close together around the usual thresholds of 500 and 1000 ms."""


@dataclass(frozen=True)
class _Exporter:
    """An exporter's unit, its port, and the lines of its environment file. `sandboxed` hides the file system from it."""

    unit: str
    port: int
    environment: tuple[str, ...]
    package: str = ""
    sandboxed: bool = True
    group: str = ""

    @property
    def environment_file(self) -> str:
        return f"/etc/default/{self.unit}"


def exporters(host: HostSpecification) -> Service:
    """Metrics of the machine, and of nginx, PostgreSQL, PgBouncer and Redis where they run; a timer adds what no exporter knows."""
    found = _exporters(host)
    address = address_of(host)
    files = [
        HostFile(
            path="/usr/local/lib/rungway/facts-metrics",
            content=render_template("exporters/facts-metrics.sh", directory=TEXTFILE_DIRECTORY),
            mode=0o755,
        ),
        HostFile(path="/etc/systemd/system/rungway-facts-metrics.service", content=_unit("service")),
        HostFile(path="/etc/systemd/system/rungway-facts-metrics.timer", content=_unit("timer")),
    ]
    for exporter in found:
        files += [
            HostFile(
                path=exporter.environment_file,
                content=render_template("exporters/environment.env", lines=exporter.environment),
                mode=0o600,
            ),
            HostFile(
                path=f"/etc/systemd/system/{exporter.unit}.service.d/rungway.conf",
                content=render_template("exporters/sandbox.conf", sandboxed=exporter.sandboxed, group=exporter.group),
            ),
        ]
    if host.role == "app" and host.application:
        files.append(
            HostFile(path="/etc/mtail/requests.mtail", content=render_template("exporters/requests.mtail", bounds=REQUEST_SECONDS))
        )
    return Service(
        name="exporters",
        packages=tuple(exporter.package or exporter.unit for exporter in found),
        directories=(Directory(path=TEXTFILE_DIRECTORY),),
        files=tuple(files),
        reads=(AUTHORITY,),
        checks=("bash -n /usr/local/lib/rungway/facts-metrics", *_checks(host)),
        units=(*(f"{exporter.unit}.service" for exporter in found), "rungway-facts-metrics.timer"),
        probe=" && ".join(f"curl -fsS -o /dev/null http://{address}:{exporter.port}/metrics" for exporter in found),
    )


def _exporters(host: HostSpecification) -> list[_Exporter]:
    address = address_of(host)

    def listen(port: int) -> str:
        return f"--web.listen-address={address}:{port}"

    found = [_Exporter("prometheus-node-exporter", NODE_PORT, (_arguments(listen(NODE_PORT), *_NODE_ARGUMENTS),), sandboxed=False)]
    if host.role == "app" and host.application:
        found += [
            _Exporter("prometheus-nginx-exporter", NGINX_PORT, (_arguments(listen(NGINX_PORT), f"--nginx.scrape-uri={NGINX_STATUS_URL}"),)),
            _Exporter(
                "mtail",
                REQUESTS_PORT,
                (
                    f'LOGS="{REQUEST_LOG}"',
                    f'HOST="{address}"',
                    f'PORT="{REQUESTS_PORT}"',
                    'EXTRA_ARGS="--emit_prog_label=false --http_debugging_endpoint=false --http_info_endpoint=false"',
                ),
                group="adm",
            ),
        ]
    if host.postgresql:
        found.append(
            _Exporter(
                "prometheus-postgres-exporter",
                POSTGRESQL_PORT,
                (
                    f'DATA_SOURCE_URI="127.0.0.1:5432/postgres?sslmode=verify-full&sslrootcert={AUTHORITY}"',
                    'DATA_SOURCE_USER="monitoring"',
                    f'DATA_SOURCE_PASS="{secret("postgresql-monitoring")}"',
                    _arguments(listen(POSTGRESQL_PORT)),
                ),
            )
        )
    if host.pgbouncer:
        login = f"monitoring:{secret('postgresql-monitoring')}"
        found.append(
            _Exporter(
                "prometheus-pgbouncer-exporter",
                PGBOUNCER_PORT,
                (
                    f'PGBOUNCER_EXPORTER_CONNECTION_STRING="postgres://{login}@127.0.0.1:6432/pgbouncer'
                    f'?sslmode=verify-full&sslrootcert={AUTHORITY}"',
                    _arguments(listen(PGBOUNCER_PORT)),
                ),
            )
        )
    if host.redis:
        found.append(
            _Exporter(
                "prometheus-redis-exporter",
                REDIS_PORT,
                (
                    'REDIS_ADDR="rediss://127.0.0.1:6379"',
                    f'REDIS_PASSWORD="{secret("redis")}"',
                    # The application's login may not read Redis' settings; its memory limit is among the figures anyway.
                    _arguments(listen(REDIS_PORT), f"--tls-ca-cert-file={AUTHORITY}", "--config-command=-"),
                ),
            )
        )
    return found


_NODE_ARGUMENTS = (
    "--collector.systemd",
    "--collector.systemd.enable-restarts-metrics",
    f"--collector.textfile.directory={TEXTFILE_DIRECTORY}",
    # What is mounted for one service alone, or by the container engine, is no disk that can fill.
    "--collector.filesystem.mount-points-exclude=^/(dev|proc|sys|run|var/lib/docker)($|/)",
)


def _arguments(*arguments: str) -> str:
    return f'ARGS="{" ".join(arguments)}"'


def _checks(host: HostSpecification) -> tuple[str, ...]:
    if host.role == "app" and host.application:
        return ("mtail --compile_only --progs=/etc/mtail --address=127.0.0.1 --port=0 --logtostderr",)
    return ()


def _unit(kind: str) -> str:
    return render_template(f"exporters/rungway-facts-metrics.{kind}", directory=TEXTFILE_DIRECTORY)
