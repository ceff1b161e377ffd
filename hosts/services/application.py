"""The application: two colours of one image, of which one serves, and the rollout that changes over between them.

For some seconds of a rollout both run, so the server needs the memory of the application twice then. A container engine runs
the image; where none can (a rehearsal), systemd runs the same program from a directory, which `image` names then.
"""

import json
import re
import shlex

from hosts.configuration import Account, Directory, HostFile, Service, Task, address_of, secret
from hosts.endpoints import database_endpoint, redis_endpoint
from hosts.services.base import AUTHORITY
from hosts.services.grafana import OTLP_HTTP_PORT, collects_traces
from hosts.services.prometheus import monitor_of
from hosts.specification import ApplicationService, HostSpecification
from hosts.templating import render_template
from hosts.tuning import SQLALCHEMY, UVICORN, tuned

CONFIGURATION = "/etc/rungway/application"
STATE = "/var/lib/rungway-application"
ROLLOUT = "/usr/local/sbin/rungway-rollout"

SERVING_FILES = {"blue": f"{STATE}/blue.serves", "green": f"{STATE}/green.serves"}
"""The colour whose file exists serves; green, while both do."""

START_SECONDS = 60
"""How long a new version may take until it is healthy."""

SETTLE_SECONDS = 2
"""Between the switch and the end of the old version: nginx may just have chosen it for a request, and connects within 2 s or not at all."""

DRAIN_SECONDS = 30
"""How long requests and WebSockets of the old version may last after that."""

PROCESSES = 512
"""Processes and threads of one colour; a fork bomb ends here."""

_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*|/[A-Za-z0-9._/-]+")


def colours(application: ApplicationService) -> tuple[tuple[str, int], ...]:
    """The two versions that can run side by side, with their ports on loopback: the setting's and its neighbour."""
    return ("blue", application.port), ("green", application.port ^ 1)


def health_check_path(host: HostSpecification) -> str:
    """The path that answers 200 when the application can serve, fit for nginx' configuration and for a shell.

    Raises:
        ValueError: a path with other characters than those of a plain one.
    """
    path = host.application.health_check_path if host.application else "/"
    if not _PATH.fullmatch(path):
        raise ValueError(f"{host.name}: health_check_path: found {path!r}; allowed: / and letters, digits, and any of . _ ~ -")
    return path


def application(host: HostSpecification, *, containers: bool = True) -> Service | None:
    """The application on a server of the role app; None elsewhere, and while no image is named. systemd runs it without `containers`.

    Raises:
        ValueError: the image or the health check's path has characters that none has.
    """
    wanted = host.application
    if host.role != "app" or wanted is None or not wanted.image:
        return None
    if not _IMAGE.fullmatch(wanted.image):
        raise ValueError(f"{host.name}: image: found {wanted.image!r}; allowed: a container image with its tag or digest")
    values = _values(host, wanted, containers=containers)
    definition = HostFile(
        path=str(values["definition"]),
        content=render_template(f"application/{'compose.yaml' if containers else 'application@.service'}", **values),
    )
    return Service(
        name="application",
        packages=("curl",) if containers else ("curl", "python3-uvicorn"),
        accounts=() if containers else (Account(name="application"),),
        directories=(Directory(path=CONFIGURATION, mode=0o700), Directory(path=STATE, mode=0o755)),
        files=(
            definition,
            HostFile(
                path=str(values["environment_file"]),
                content=render_template("application/application.env", variables=_environment(host, wanted)),
                mode=0o600,
            ),
            HostFile(path=ROLLOUT, content=render_template("application/rollout.sh", **values), mode=0o755),
        ),
        checks=(f"bash -n {ROLLOUT}", _check(definition.path, containers=containers)),
        after=(Task(name="roll the application out", unless=f"{ROLLOUT} --check", script=ROLLOUT),),
    )


def _check(definition: str, *, containers: bool) -> str:
    return f"docker-compose --file {definition} config --quiet" if containers else "systemd-analyze verify application@blue.service"


def _values(host: HostSpecification, wanted: ApplicationService, *, containers: bool) -> dict[str, object]:
    return {
        "containers": containers,
        "image": wanted.image,
        "migration_shell": shlex.quote(wanted.migration_command) if wanted.migration_command else "",
        # JSON is YAML; Compose takes a doubled $ as a plain one.
        "migration_yaml": json.dumps(wanted.migration_command.replace("$", "$$")),
        "health_check_path": health_check_path(host),
        "colours": colours(wanted),
        "memory_mb": wanted.workers * wanted.worker_memory_mb,
        "processes": PROCESSES,
        "authority": AUTHORITY,
        "environment_file": f"{CONFIGURATION}/application.env",
        "definition": f"{CONFIGURATION}/compose.yaml" if containers else "/etc/systemd/system/application@.service",
        "state": STATE,
        "serving_files": [(colour, SERVING_FILES[colour]) for colour, _ in colours(wanted)],
        "start_seconds": START_SECONDS,
        "settle_seconds": SETTLE_SECONDS,
        "stop_seconds": DRAIN_SECONDS + 5,
    }


def _environment(host: HostSpecification, wanted: ApplicationService) -> list[tuple[str, str]]:
    """What the application is told. Uvicorn reads every UVICORN_ variable as the option of that name."""
    variables = [
        ("APPLICATION_IMAGE", wanted.image),
        ("UVICORN_HOST", "127.0.0.1"),
        *((f"UVICORN_{name.upper()}", value) for name, value in tuned(UVICORN, host).items()),
        ("UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN", str(DRAIN_SECONDS)),
        ("UVICORN_ACCESS_LOG", "false"),
        ("PYTHONUNBUFFERED", "1"),
    ]
    if database := database_endpoint(host):
        address, port = database
        login = f"application:{secret('postgresql-application')}"
        variables += [
            ("DATABASE_URL", f"postgresql://{login}@{address}:{port}/application?sslmode=verify-full&sslrootcert={AUTHORITY}"),
            *((f"DATABASE_{name.upper()}", value) for name, value in tuned(SQLALCHEMY, host).items()),
        ]
    if redis := redis_endpoint(host):
        address, port = redis
        variables.append(("REDIS_URL", f"rediss://:{secret('redis')}@{address}:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={AUTHORITY}"))
    if wanted.uploads_bucket:
        variables += [
            ("S3_BUCKET", wanted.uploads_bucket),
            ("AWS_REGION", "auto"),
            ("AWS_ENDPOINT_URL_S3", f"https://{secret('uploads-endpoint')}"),
            ("AWS_ACCESS_KEY_ID", secret("uploads-key-id")),
            ("AWS_SECRET_ACCESS_KEY", secret("uploads-key-secret")),
        ]
    return [*variables, *_telemetry(host)]


def _telemetry(host: HostSpecification) -> list[tuple[str, str]]:
    """Where traces go, by the names that OpenTelemetry's libraries read; empty where nobody collects them. This alone sends nothing."""
    monitor = monitor_of(host.region, host.peers)
    if monitor is None or not collects_traces(monitor):
        return []
    return [
        ("OTEL_SERVICE_NAME", "application"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"https://{address_of(monitor)}:{OTLP_HTTP_PORT}"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", AUTHORITY),
        # Prometheus and the journal have them; the collector takes traces alone.
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
    ]
