"""Stores and monitoring are ready before the applications that need them."""

from hosts.converge.order import waves
from tests.support.minimal_host import minimal_host


def test_applications_come_last() -> None:
    roles = ("app", "database", "kubernetes-worker", "monitoring", "kubernetes-control", "redis")
    hosts = [minimal_host(name=f"{role}-eu-1", role=role) for role in roles]

    assert waves(hosts) == [
        ["database-eu-1", "monitoring-eu-1", "kubernetes-control-eu-1", "redis-eu-1"],
        ["app-eu-1", "kubernetes-worker-eu-1"],
    ]


def test_a_wave_without_servers_is_left_out() -> None:
    assert waves([minimal_host()]) == [["app-eu-1"]]
    assert waves([]) == []
