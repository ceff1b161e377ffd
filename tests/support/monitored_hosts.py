"""Servers of a small stack with a monitoring server, as their specifications."""

import dataclasses
from collections.abc import Callable
from typing import Any

from hosts.configuration import Service
from hosts.specification import (
    AlertThresholds,
    ApplicationService,
    HostSpecification,
    MonitoringService,
    Peer,
    PgbouncerService,
    RedisService,
)
from tests.support import database_host

THRESHOLDS = AlertThresholds(
    cpu_warning_percent=70,
    cpu_critical_percent=90,
    memory_warning_percent=80,
    memory_critical_percent=90,
    response_p95_warning_ms=500,
    response_p95_critical_ms=1000,
    connections_warning_percent=70,
    connections_critical_percent=90,
    error_rate_warning_percent=1,
    error_rate_critical_percent=5,
    cache_hit_warning_percent=70,
)
MONITORING = MonitoringService(
    retention_days=30,
    thresholds=THRESHOLDS,
    probe_urls=("https://api.example.com/health",),
    primary_region="eu",
    backup_every_hours=6,
)
APPLICATION = ApplicationService(
    workers=2,
    worker_concurrency=100,
    worker_memory_mb=200,
    port=8000,
    health_check_path="/health",
    hostnames=("api.example.com",),
    database_pool_size=5,
    database_max_overflow=5,
)
POSTGRESQL = dataclasses.replace(database_host.POSTGRESQL, clients=20)
PGBOUNCER = PgbouncerService(max_client_connections=500, pool_size=25)
REDIS = RedisService(max_memory_mb=256, eviction_policy="allkeys-lru", primary=True, sentinel=False)

APP_PEER = Peer("app-eu-1", "app", "10.0.1.10", "eu", services=("application",))
DATABASE_PEER = Peer("database-eu-1", "database", "10.0.2.10", "eu", etcd=True, services=("postgresql", "pgbouncer"))
REDIS_PEER = Peer("redis-eu-1", "redis", "10.0.3.10", "eu", services=("redis",))
MONITORING_PEER = Peer("monitoring-eu-1", "monitoring", "10.0.4.10", "eu", services=("monitoring",))


def host(peer: Peer = MONITORING_PEER, **changes: Any) -> HostSpecification:
    """A server called and addressed as `peer`; the services on it, and whatever else is of interest, are in `changes`."""
    specification = HostSpecification(
        name=peer.name,
        role=peer.role,
        provider="hetzner",
        location="nbg1",
        region=peer.region,
        cores=2,
        memory_mb=4096,
        disk_gb=40,
        architecture="x86",
        private_address=peer.address,
        public=peer.role in ("app", "monitoring"),
        jump_host=None,
        data_mount="/srv/data",
    )
    return dataclasses.replace(specification, **changes)


def monitoring_host(**changes: Any) -> HostSpecification:
    """The monitoring server of a stack with one application server, one Redis and one of the database servers that Patroni runs."""
    return host(**{"monitoring": MONITORING, "peers": (APP_PEER, DATABASE_PEER, REDIS_PEER), **changes})


def service_of(make: Callable[[HostSpecification], Service | None], specification: HostSpecification) -> Service:
    """The service that `make` gives a server that must have it."""
    service = make(specification)
    assert service is not None
    return service


def content(service: Service, path: str) -> str:
    """The content of the file at `path`."""
    return next(file.content for file in service.files if file.path == path)
