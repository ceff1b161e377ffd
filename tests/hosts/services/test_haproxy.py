"""HAProxy on application servers: when, before what, and how it tells the primary."""

import dataclasses
import re
from typing import Any

from hosts.configuration import Service
from hosts.endpoints import database_endpoint, redis_endpoint
from hosts.services.haproxy import haproxy
from hosts.specification import HostSpecification, Peer
from tests.support.application_host import application_host

PEERS = (
    Peer("database-eu-1", "database", "10.0.2.10", "eu"),
    Peer("database-eu-2", "database", None, "eu"),
    Peer("redis-eu-1", "redis", "10.0.3.10", "eu"),
    Peer("redis-eu-2", "redis", "10.0.3.11", "eu"),
)
DATABASE: dict[str, Any] = {"database_nodes": ("database-eu-1", "database-eu-2"), "database_port": 6432}
REDIS: dict[str, Any] = {"redis_nodes": ("redis-eu-1", "redis-eu-2"), "redis_sentinel": True}


def _host(**application: Any) -> HostSpecification:
    return application_host(peers=PEERS, **application)


def _configuration(**application: Any) -> str:
    service = haproxy(_host(**application))
    assert isinstance(service, Service)
    assert service.files[0].mode == 0o600
    return service.files[0].content


def test_it_is_there_only_where_a_primary_can_change_its_server() -> None:
    assert haproxy(_host(database_nodes=("database-eu-1",), redis_nodes=("redis-eu-1", "redis-eu-2"))) is None
    assert haproxy(dataclasses.replace(_host(**DATABASE), role="kubernetes-worker")) is None
    assert "frontend redis" not in _configuration(**DATABASE)
    assert "listen database" not in _configuration(**REDIS)


def test_it_listens_where_the_application_connects() -> None:
    host = _host(**DATABASE, **REDIS)

    listens = re.findall(r"bind (\S+)", _configuration(**DATABASE, **REDIS))
    assert [database_endpoint(host), redis_endpoint(host)] == [(address, int(port)) for address, port in (at.split(":") for at in listens)]


def test_every_server_is_checked_by_name_over_verified_tls_and_loses_its_connections() -> None:
    text = _configuration(**DATABASE, **REDIS)

    servers = re.findall(r"^    server (\S+) (\S+) (.+)$", text, re.MULTILINE)
    assert [(name, address) for name, address, _ in servers[:2]] == [
        ("database-eu-1", "10.0.2.10:6432"),
        ("database-eu-2", "${address:database-eu-2}:6432"),
    ]
    assert len(servers) == 6
    assert all(f"verifyhost {name}" in options for name, _, options in servers)
    (defaults,) = re.findall(r"default-server (.+)", text)
    assert "check-ssl ca-file authority.crt verify required" in defaults
    assert "on-marked-down shutdown-sessions" in defaults
    assert "uri /primary" in text


def test_the_checks_of_redis_speak_tls_too() -> None:
    text = _configuration(**REDIS)

    # Without `default` an explicit connect forgets check-ssl, and Redis resets the connection.
    assert re.findall(r"tcp-check connect(.*)", text) == [" default", " default"]


def test_a_redis_primary_with_replicas_comes_before_one_without() -> None:
    text = _configuration(**REDIS)

    assert "use_backend redis-with-replicas if { nbsrv(redis-with-replicas) gt 0 }" in text
    assert r"expect min-recv 0 rstring role:master\r\nconnected_slaves:[1-9]" in text
    assert "expect min-recv 0 string role:master\n" in text
