"""The application's two colours, what it is told, and the rollout, which runs here for real with stand-ins for systemd and curl."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from hosts.configuration import Service
from hosts.services.application import CONFIGURATION, ROLLOUT, STATE, application, colours
from hosts.services.base import AUTHORITY
from hosts.specification import Peer
from tests.support.application_host import application_host

PEERS = (Peer("database-eu-1", "database", "10.0.2.10", "eu"), Peer("redis-eu-1", "redis", None, "eu"))
IMAGE = "ghcr.io/acme/shop:1.4.2"


def _service(*, containers: bool = True, **wanted: Any) -> Service:
    service = application(application_host(peers=PEERS, **{"image": IMAGE, **wanted}), containers=containers)
    assert isinstance(service, Service)
    return service


def _file(service: Service, name: str) -> str:
    return next(file.content for file in service.files if file.path.endswith(name))


def _environment(**wanted: Any) -> dict[str, str]:
    lines = _file(_service(**wanted), ".env").splitlines()
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def test_without_an_image_nothing_is_deployed() -> None:
    assert application(application_host()) is None
    assert application(replace(application_host(image=IMAGE), role="kubernetes-worker")) is None


def test_the_colours_are_neighbours_and_both_are_ports() -> None:
    for port in (1024, 8000, 65535):
        wanted = application_host(port=port).application
        assert wanted is not None
        (_, first), (_, second) = colours(wanted)
        assert first == port
        assert 1024 <= second <= 65535
        assert abs(first - second) == 1


def test_both_colours_are_the_same_but_for_the_port_and_may_do_next_to_nothing() -> None:
    services = yaml.safe_load(_file(_service(), "compose.yaml"))["services"]

    assert [services[colour]["environment"]["UVICORN_PORT"] for colour in ("blue", "green")] == ["8000", "8001"]
    for colour in services.values():
        assert colour["image"] == IMAGE
        assert colour["network_mode"] == "host"
        assert (colour["read_only"], colour["cap_drop"], colour["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
        assert colour["mem_limit"] == "400m"
        assert "ports" not in colour


def test_the_environment_says_where_the_stores_are_and_is_secret() -> None:
    values = _environment(database_nodes=("database-eu-1",), database_port=6432, redis_nodes=("redis-eu-1",), uploads_bucket="shop-images")

    database = urlsplit(values["DATABASE_URL"].replace("${secret:postgresql-application}", "password"))
    assert (database.hostname, database.port, database.path) == ("10.0.2.10", 6432, "/application")
    assert database.query == "sslmode=verify-full&sslrootcert=/etc/rungway/tls/authority.crt"
    assert values["REDIS_URL"].startswith("rediss://:${secret:redis}@${address:redis-eu-1}:6379/0?ssl_cert_reqs=required&")
    assert values["S3_BUCKET"] == "shop-images"
    assert (values["UVICORN_WORKERS"], values["UVICORN_LIMIT_CONCURRENCY"], values["UVICORN_BACKLOG"]) == ("2", "100", "2048")
    assert all(file.mode == 0o600 for file in _service(redis_nodes=("redis-eu-1",)).files if file.is_secret)


def _telemetry(*peers: Peer) -> dict[str, str]:
    service = application(application_host(peers=peers, image=IMAGE))
    assert service is not None
    lines = _file(service, ".env").splitlines()
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines) if name.startswith("OTEL_")}


def test_traces_go_to_the_monitoring_server_over_tls_that_is_verified() -> None:
    own = Peer("monitoring-eu-1", "monitoring", "10.0.4.10", "eu", services=("monitoring",))
    other = Peer("monitoring-ap-1", "monitoring", "10.1.4.10", "ap", services=("monitoring",))

    assert _telemetry(other, own) == {
        "OTEL_SERVICE_NAME": "application",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://10.0.4.10:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": AUTHORITY,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    assert _telemetry(other)["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://10.1.4.10:4318"


def test_without_a_collector_the_application_is_told_of_none() -> None:
    beside = Peer("app-eu-2", "app", "10.0.1.11", "eu", services=("application", "monitoring"))

    assert (_telemetry(), _telemetry(beside)) == ({}, {})


def test_an_application_without_stores_is_told_of_none() -> None:
    assert not {"DATABASE_URL", "REDIS_URL", "S3_BUCKET"} & _environment().keys()


def test_a_migration_is_a_command_of_the_image_and_keeps_its_characters() -> None:
    services = yaml.safe_load(_file(_service(migration_command='alembic -x "a: $B" upgrade head'), "compose.yaml"))["services"]

    assert services["migration"]["command"] == ["sh", "-c", 'alembic -x "a: $$B" upgrade head']
    assert services["migration"]["profiles"] == ["migration"]
    assert "compose run --rm --no-deps migration" in _file(_service(migration_command="x"), "rollout")


@pytest.mark.parametrize("image", ["shop:1\nprivileged: true", "shop: 1", "-f", "$(id)"])
def test_an_image_that_is_none_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match=r"app-eu-1: image: found .+; allowed: a container image with its tag or digest"):
        _service(image=image)


class _Server:
    """A directory that stands for the server: the rollout's own paths, a systemctl that notes what runs, and a curl that asks it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for directory in ("bin", "state", "run"):
            (root / directory).mkdir()
        self.authority = root / "authority.crt"
        self.authority.write_text("the stack's")
        self._tool(
            "systemctl",
            'unit="${@: -1}"\n'
            'case "$1" in\n'
            '  restart) touch "$ROOT/run/$unit" ;;\n'
            '  disable) rm -f "$ROOT/run/$unit" ;;\n'
            '  is-active) test -e "$ROOT/run/$unit" ;;\n'
            "esac",
        )
        self._tool("curl", 'test ! -e "$ROOT/sick"')
        self._tool("sleep", ":")
        self._tool("journalctl", "echo the log")
        self._tool("systemd-run", 'test ! -e "$ROOT/migration-fails"')

    def _tool(self, name: str, body: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def write(self, **wanted: Any) -> None:
        """What a convergence leaves here."""
        for file in _service(containers=False, **wanted).files:
            text = file.content.replace(STATE, str(self.root / "state")).replace(CONFIGURATION, str(self.root))
            text = text.replace("/etc/systemd/system", str(self.root)).replace("/run/rungway", str(self.root / "rungway"))
            text = text.replace("start_seconds=60", "start_seconds=4").replace(AUTHORITY, str(self.authority))
            path = self.root / Path(file.path).name
            path.write_text(text)

    def rollout(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", "ROOT": str(self.root)}
        script = self.root / Path(ROLLOUT).name
        return subprocess.run(["bash", str(script), *arguments], env=environment, capture_output=True, text=True, check=False, timeout=30)

    @property
    def running(self) -> set[str]:
        return {path.name.removeprefix("application@") for path in (self.root / "run").iterdir()}

    @property
    def serving(self) -> set[str]:
        return {path.stem for path in (self.root / "state").glob("*.serves")}


@pytest.fixture
def server(tmp_path: Path) -> _Server:
    server = _Server(tmp_path)
    server.write(image="/srv/1")
    return server


def test_the_first_rollout_starts_blue_and_a_second_one_changes_nothing(server: _Server) -> None:
    assert server.rollout("--check").returncode == 1

    assert server.rollout().returncode == 0
    assert (server.running, server.serving) == ({"blue"}, {"blue"})
    assert server.rollout("--check").returncode == 0
    assert "UVICORN_PORT='8000'" in (server.root / "state" / "blue.env").read_text()


@pytest.mark.parametrize("change", [{"image": "/srv/2"}, {"image": "/srv/1", "workers": 3}])
def test_a_new_image_or_a_new_environment_is_rolled_out_to_the_other_colour(server: _Server, change: dict[str, Any]) -> None:
    server.rollout()
    server.write(**change)
    assert server.rollout("--check").returncode == 1

    assert server.rollout().returncode == 0
    assert (server.running, server.serving) == ({"green"}, {"green"})
    server.write(image="/srv/3")
    assert server.rollout().returncode == 0
    assert (server.running, server.serving) == ({"blue"}, {"blue"})


def test_another_authority_is_rolled_out_too(server: _Server) -> None:
    server.rollout()
    server.authority.write_text("another")
    assert server.rollout("--check").returncode == 1

    server.rollout()
    assert (server.running, server.rollout("--check").returncode) == ({"green"}, 0)


def test_a_version_that_does_not_become_healthy_never_serves(server: _Server) -> None:
    server.rollout()
    server.write(image="/srv/2")
    (server.root / "sick").touch()

    result = server.rollout()

    assert result.returncode == 1
    assert "green was not healthy within 4 s; blue serves as before" in result.stderr
    assert "the log" in result.stderr
    assert (server.running, server.serving) == ({"blue"}, {"blue"})
    assert server.rollout("--check").returncode == 1


def test_a_migration_that_fails_starts_nothing(server: _Server) -> None:
    server.rollout()
    server.write(image="/srv/2", migration_command="alembic upgrade head")
    (server.root / "migration-fails").touch()

    result = server.rollout()

    assert result.returncode == 1
    assert "the migration failed; blue serves as before" in result.stderr
    assert (server.running, server.serving) == ({"blue"}, {"blue"})


def test_a_rollout_that_was_cut_off_at_the_switch_is_completed(server: _Server) -> None:
    server.rollout()
    server.write(image="/srv/2")
    server.rollout()
    (server.root / "run" / "application@blue").touch()
    (server.root / "state" / "blue.serves").touch()
    assert server.rollout("--check").returncode == 1

    assert server.rollout().returncode == 0
    assert (server.running, server.serving) == ({"green"}, {"green"})


def test_an_application_that_does_not_run_is_rolled_out_again(server: _Server) -> None:
    server.rollout()
    (server.root / "run" / "application@blue").unlink()
    assert server.rollout("--check").returncode == 1

    assert server.rollout().returncode == 0
    assert server.rollout("--check").returncode == 0
