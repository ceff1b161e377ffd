"""The container engine and where it runs."""

import dataclasses
import json

from hosts.configuration import Service
from hosts.services.containers import containers
from tests.support.application_host import application_host


def test_the_engine_never_touches_the_network_and_containers_outlive_its_restart() -> None:
    service = containers(application_host())
    assert isinstance(service, Service)

    engine = json.loads(service.files[0].content)
    assert (engine["bridge"], engine["iptables"], engine["ip6tables"], engine["ip-forward"]) == ("none", False, False, False)
    assert engine["live-restore"] is True
    assert engine["log-opts"]["tag"] == "{{.Name}}"


def test_a_server_without_containers_has_no_engine() -> None:
    assert containers(dataclasses.replace(application_host(), role="database", application=None)) is None
    assert containers(dataclasses.replace(application_host(), role="kubernetes-worker")) is None
