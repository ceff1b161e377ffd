"""etcd: who is a member, what it listens on, and a probe that waits for a majority before it asks for health."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hosts.configuration import Service
from hosts.services.etcd import PROBE, etcd, members
from hosts.specification import Peer
from tests.support.database_host import database_host


def _service(**changes: Any) -> Service:
    service = etcd(database_host(nodes=2, **changes))
    assert service
    return service


def _file(service: Service, path: str) -> str:
    return next(file.content for file in service.files if file.path == path)


def _configuration(**changes: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(_file(_service(**changes), "/etc/etcd/etcd.yml"))
    return loaded


def test_a_server_that_does_not_vote_has_none() -> None:
    assert etcd(database_host()) is None


def test_members_are_the_voters_of_the_region_in_an_order_that_all_of_them_share() -> None:
    host = database_host(2, nodes=2)
    more = (*host.peers, Peer("app-eu-1", "app", "10.0.1.10", "eu"), Peer("database-us-1", "database", "10.1.2.10", "us", True))

    assert [member.name for member in members(replace(host, peers=more))] == ["database-eu-1", "database-eu-2", "monitoring-eu-1"]
    assert [member.name for member in members(database_host(nodes=3))] == ["database-eu-1", "database-eu-2", "database-eu-3"]
    assert [member.name for member in members(replace(host, etcd=False))] == ["database-eu-1", "monitoring-eu-1"]


def test_it_listens_on_the_private_address_and_for_clients_of_the_server_itself() -> None:
    configuration = _configuration()

    assert configuration["listen-peer-urls"] == "https://10.0.2.10:2380"
    assert configuration["listen-client-urls"] == "https://10.0.2.10:2379,https://127.0.0.1:2379"
    assert configuration["initial-cluster"] == (
        "database-eu-1=https://10.0.2.10:2380,database-eu-2=https://10.0.2.11:2380,monitoring-eu-1=https://10.0.4.10:2380"
    )


@pytest.mark.parametrize("side", ["client-transport-security", "peer-transport-security"])
def test_nobody_is_heard_without_a_certificate_of_the_stack(side: str) -> None:
    assert _configuration()[side] == {
        "trusted-ca-file": "/etc/rungway/tls/authority.crt",
        "cert-file": "/etc/rungway/tls/server.crt",
        "key-file": "/etc/rungway/tls/server.key",
        "client-cert-auth": True,
    }


def test_addresses_that_the_provider_assigns_are_filled_in_later() -> None:
    configuration = _configuration(private_address=None, peers=(Peer("database-eu-2", "database", None, "eu", True),))

    assert configuration["initial-cluster"] == (
        "database-eu-1=https://${address:database-eu-1}:2380,database-eu-2=https://${address:database-eu-2}:2380"
    )


@pytest.mark.parametrize(("data_mount", "expected"), [("/srv/data", "/srv/data/etcd"), (None, "/var/lib/etcd")])
def test_data_is_on_the_volume_where_there_is_one(data_mount: str | None, expected: str) -> None:
    service = _service(data_mount=data_mount)

    assert _configuration(data_mount=data_mount)["data-dir"] == expected
    assert [(directory.path, directory.owner, directory.mode) for directory in service.directories] == [(expected, "etcd", 0o700)]
    assert f"ReadWritePaths={expected}\n" in _file(service, "/etc/systemd/system/etcd.service.d/rungway.conf")


@pytest.mark.skipif(not shutil.which("timeout"), reason="needs timeout")
@pytest.mark.parametrize(
    ("reachable", "health", "active", "passes"),
    [
        (1, 1, 0, True),  # the first server: its own etcd runs, nobody else is there
        (1, 1, 3, False),  # the first server, and its etcd does not even run
        (2, 1, 0, False),  # a majority is there, so it must be healthy
        (2, 0, 0, True),
        (3, 0, 0, True),
    ],
)
def test_health_is_asked_for_as_soon_as_a_majority_is_there(tmp_path: Path, reachable: int, health: int, active: int, passes: bool) -> None:
    answers = " ".join(["10.0.2.10", "10.0.2.11", "10.0.4.10"][:reachable])
    programs = {
        "timeout": f'for each in {answers}; do [[ "$*" = *"/dev/tcp/$each/2380"* ]] && exit 0; done; exit 1',
        "systemctl": f"exit {active}",
        "etcdctl": f"exit {health}",
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)

    run = subprocess.run(
        ["bash", "-c", _file(_service(), PROBE)], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=False, capture_output=True
    )

    assert (run.returncode == 0) is passes
