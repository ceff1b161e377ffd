"""Where the application finds its stores, on every shape of a stack."""

import dataclasses
from typing import Any

import pytest

from hosts.endpoints import database_endpoint, redis_endpoint
from hosts.specification import HostSpecification, Peer
from infra.host_specifications import host_specifications
from tests.support.application_host import application_host
from tests.support.stack_config import read

PEERS = (
    Peer("app-eu-2", "app", "10.0.1.11", "eu"),
    Peer("database-eu-1", "database", "10.0.2.10", "eu"),
    Peer("database-eu-2", "database", None, "eu"),
    Peer("redis-eu-1", "redis", None, "eu"),
)


def _host(**application: Any) -> HostSpecification:
    return application_host(peers=PEERS, **application)


def test_stores_on_the_same_server_are_at_loopback() -> None:
    host = _host(database_nodes=("app-eu-1",), redis_nodes=("app-eu-1",))

    assert database_endpoint(host) == ("127.0.0.1", 5432)
    assert redis_endpoint(host) == ("127.0.0.1", 6379)


def test_a_single_node_is_at_its_private_address() -> None:
    host = _host(database_nodes=("database-eu-1",), database_port=6432, redis_nodes=("redis-eu-1",))

    assert database_endpoint(host) == ("10.0.2.10", 6432)
    assert redis_endpoint(host) == ("${address:redis-eu-1}", 6379)


def test_the_store_of_another_application_server_is_at_its_private_address() -> None:
    assert database_endpoint(_host(database_nodes=("app-eu-2",))) == ("10.0.1.11", 5432)


def test_a_primary_that_can_change_its_server_is_behind_the_local_balancer() -> None:
    host = _host(database_nodes=("database-eu-1", "database-eu-2"), database_port=6432, redis_nodes=("redis-eu-1",), redis_sentinel=True)

    assert database_endpoint(host) == ("127.0.0.1", 6432)
    assert redis_endpoint(host) == ("127.0.0.1", 6379)


def test_replicas_without_sentinel_leave_redis_at_its_primary() -> None:
    assert redis_endpoint(_host(redis_nodes=("redis-eu-1", "app-eu-2"))) == ("${address:redis-eu-1}", 6379)


def test_a_stack_without_stores_has_no_endpoints() -> None:
    assert (database_endpoint(_host()), redis_endpoint(_host())) == (None, None)


def test_an_unknown_node_is_refused() -> None:
    with pytest.raises(ValueError, match="app-eu-1: peers: found none named database-us-1; needed: every server that holds a store"):
        database_endpoint(_host(database_nodes=("database-us-1",)))


def test_a_server_without_the_application_is_refused() -> None:
    with pytest.raises(ValueError, match="app-eu-1: application: found none"):
        redis_endpoint(dataclasses.replace(_host(), application=None))


def _endpoints(**settings: Any) -> tuple[object, object]:
    host = host_specifications(read(**settings))[0]
    return database_endpoint(host), redis_endpoint(host)


def test_the_settings_of_one_server_say_loopback() -> None:
    store = {"placement": "app_server", "nodes": 1}
    app = {"servers": 1, "server_type": "cx33", "data_volume_size_gb": 10}

    assert _endpoints(app=app, database=store, redis=store) == (("127.0.0.1", 5432), ("127.0.0.1", 6379))


def test_the_settings_of_dedicated_servers_say_where_they_are() -> None:
    size = {"server_type": "cx33", "volume_size_gb": 10}
    database = {"nodes": 1, "pooler": {"enabled": True}, **size}

    assert _endpoints(database=database, redis={"nodes": 2, **size}) == (("10.0.2.10", 6432), ("10.0.3.10", 6379))
    assert _endpoints(database={**database, "nodes": 2}, redis={"nodes": 3, "sentinel": True, **size}) == (
        ("127.0.0.1", 6432),
        ("127.0.0.1", 6379),
    )


def test_the_settings_say_what_else_the_application_depends_on() -> None:
    buckets = [{"name": "backups", "token": "write"}, {"name": "shown", "access": "private"}, {"name": "images", "token": "write"}]
    app = {"servers": 1, "server_type": "cx33", "data_volume_size_gb": 10, "image": "ghcr.io/acme/shop:1", "migration_command": "migrate"}
    store = {"placement": "app_server", "nodes": 1}
    settings = read(
        app=app,
        database=store,
        edge={"buckets": buckets},
        backup={"enabled": True, "bucket": "backups"},
        load_balancer={"enabled": True, "type": "lb11"},
    )

    application = host_specifications(settings)[0].application

    assert application is not None
    assert (application.image, application.migration_command) == ("ghcr.io/acme/shop:1", "migrate")
    assert application.uploads_bucket == "shop-images"
    assert application.proxy_protocol
    without_edge = host_specifications(read(edge={"enabled": False, "tls": False}))[0].application
    assert without_edge is not None
    assert (without_edge.uploads_bucket, without_edge.hostnames, without_edge.proxy_protocol) == ("", (), False)
