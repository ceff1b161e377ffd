"""Host specifications: plain values that can be compared, and can't be changed."""

import dataclasses

import pytest

from hosts.specification import ApplicationService, HostSpecification, Peer, PgbouncerService


def _host(**changes: object) -> HostSpecification:
    host = HostSpecification(
        name="app-eu-1",
        role="app",
        provider="hetzner",
        location="nbg1",
        region="eu",
        cores=4,
        memory_mb=8192,
        disk_gb=80,
        architecture="x86",
        private_address="10.0.1.10",
        public=True,
        jump_host=None,
        data_mount="/srv/data",
    )
    return dataclasses.replace(host, **changes)  # type: ignore[arg-type]


def test_a_server_without_services_has_none() -> None:
    host = _host()

    assert (host.application, host.postgresql, host.pgbouncer, host.redis, host.monitoring, host.backup) == (None,) * 6
    assert (host.peers, host.rules, host.etcd) == ((), (), False)


def test_equal_descriptions_are_equal_and_a_different_peer_shows() -> None:
    assert _host() == _host()
    assert _host(peers=(Peer("database-eu-1", "database", None),)) != _host(peers=(Peer("database-eu-1", "database", "10.0.2.10"),))


def test_nothing_can_be_changed_after_it_was_written() -> None:
    host = _host(pgbouncer=PgbouncerService(max_client_connections=1000, pool_size=25))

    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'memory_mb'"):
        host.memory_mb = 16_384  # type: ignore[misc]
    assert host.pgbouncer is not None
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'pool_size'"):
        host.pgbouncer.pool_size = 50  # type: ignore[misc]


def test_services_are_described_by_name_only() -> None:
    with pytest.raises(TypeError, match="takes 1 positional argument but 9 were given"):
        ApplicationService(4, 100, 200, 8000, "/health", (), 5, 5)  # type: ignore[call-arg]


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'kafka'"):
        _host(kafka=None)
