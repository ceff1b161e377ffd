"""Stores and monitoring are ready before the applications that need them."""

from dataclasses import replace

from hosts.converge.order import waves
from tests.support.database_host import POSTGRESQL
from tests.support.minimal_host import minimal_host


def test_applications_come_last() -> None:
    roles = ("app", "database", "kubernetes-worker", "monitoring", "kubernetes-control", "redis")
    hosts = [minimal_host(name=f"{role}-eu-1", role=role) for role in roles]

    assert waves(hosts) == [
        ["database-eu-1", "monitoring-eu-1", "kubernetes-control-eu-1", "redis-eu-1"],
        ["app-eu-1", "kubernetes-worker-eu-1"],
    ]


def test_a_database_of_another_region_comes_after_the_one_that_it_copies() -> None:
    copy = replace(POSTGRESQL, primary=False, follows=("database-eu-1",))
    hosts = [
        minimal_host(name="database-us-1", role="database", postgresql=copy),
        minimal_host(name="redis-us-1", role="redis"),
        minimal_host(name="database-eu-1", role="database", postgresql=POSTGRESQL),
    ]

    assert waves(hosts) == [["redis-us-1", "database-eu-1"], ["database-us-1"]]


def test_a_wave_without_servers_is_left_out() -> None:
    assert waves([minimal_host()]) == [["app-eu-1"]]
    assert waves([]) == []
