"""Which services a server has, in the order in which they converge: the one list that rendering, convergence and rehearsals go by."""

from collections.abc import Callable

from hosts.configuration import HostConfiguration, Service
from hosts.services.alertmanager import alertmanager
from hosts.services.application import application
from hosts.services.audit import audit
from hosts.services.backup import backup
from hosts.services.base import base
from hosts.services.certificates import certificates
from hosts.services.clock import clock
from hosts.services.containers import containers
from hosts.services.etcd import etcd
from hosts.services.exporters import exporters
from hosts.services.firewall import firewall
from hosts.services.grafana import grafana
from hosts.services.haproxy import haproxy
from hosts.services.journal import journal
from hosts.services.kernel import kernel
from hosts.services.logs import logs
from hosts.services.nginx import nginx
from hosts.services.patroni import patroni
from hosts.services.pgbouncer import pgbouncer
from hosts.services.postgresql import postgresql
from hosts.services.prometheus import prometheus
from hosts.services.redis import redis
from hosts.services.sentinel import sentinel
from hosts.services.ssh import ssh
from hosts.services.swap import swap
from hosts.services.updates import updates
from hosts.services.wireguard import wireguard
from hosts.specification import HostSpecification

Renderer = Callable[[HostSpecification], Service | tuple[Service, ...] | None]

SERVICES: tuple[Renderer, ...] = (
    # The machine itself, closed before anything listens.
    base,
    ssh,
    firewall,
    kernel,
    swap,
    journal,
    clock,
    updates,
    audit,
    # The way to the servers of other regions.
    wireguard,
    # Stores, and what chooses their primaries.
    etcd,
    postgresql,
    patroni,
    pgbouncer,
    redis,
    sentinel,
    backup,
    # What stands before them, and the application.
    haproxy,
    containers,
    certificates,
    nginx,
    application,
    # What watches all of them.
    exporters,
    logs,
    prometheus,
    alertmanager,
    grafana,
)


def host_configuration(host: HostSpecification) -> HostConfiguration:
    """Everything that must be true on `host`."""
    services: list[Service] = []
    for renderer in SERVICES:
        rendered = renderer(host)
        services += rendered if isinstance(rendered, tuple) else [rendered] if rendered else []
    return HostConfiguration(name=host.name, private_address=host.private_address, services=tuple(services))
