"""Describes every server of a stack, completely enough that whatever runs on it can be rendered from the description alone."""

from typing import cast

from hosts.endpoints import PGBOUNCER_PORT, POSTGRESQL_PORT
from hosts.specification import (
    AlertThresholds,
    ApplicationService,
    BackupService,
    HostSpecification,
    MonitoringService,
    Peer,
    PgbouncerService,
    PostgresqlService,
    RedisService,
    Role,
)
from infra.catalog import server_types
from infra.regions import DATA_MOUNT
from infra.roles import Server, has_volume, jump_host, rules_of, servers_of
from infra.settings import Region, Settings


def host_specifications(settings: Settings) -> tuple[HostSpecification, ...]:
    """The specification of every server, region by region, in the order in which they are built."""
    everyone = [(region, server) for region in settings.regions for server in servers_of(region)]
    peers = [
        Peer(
            server.name,
            cast("Role", server.role),
            server.private_address,
            region=region.name,
            etcd=_votes(region, server),
            services=_services(region, server),
        )
        for region, server in everyone
    ]
    return tuple(
        _specification(settings, region, server, tuple(peer for peer in peers if peer.name != server.name)) for region, server in everyone
    )


def _specification(settings: Settings, region: Region, server: Server, peers: tuple[Peer, ...]) -> HostSpecification:
    size = server_types(region.provider)[server.server_type]
    jump = jump_host(region)
    services = _services(region, server)
    return HostSpecification(
        name=server.name,
        role=cast("Role", server.role),
        provider=region.provider,
        location=region.location,
        region=region.name,
        cores=size.cores,
        memory_mb=size.memory_mb,
        disk_gb=size.disk_gb,
        architecture=size.architecture,
        private_address=server.private_address,
        public=server.role not in ("database", "redis"),
        jump_host=None if jump == server.name else jump,
        data_mount=DATA_MOUNT if has_volume(region, server) else None,
        peers=peers,
        rules=rules_of(settings, region, server.role),
        application=_application(settings, region, size.cores) if "application" in services else None,
        postgresql=_postgresql(settings, region, server) if "postgresql" in services else None,
        pgbouncer=PgbouncerService(**region.database.pooler.model_dump(exclude={"enabled"})) if "pgbouncer" in services else None,
        redis=_redis(settings, region, server) if "redis" in services else None,
        monitoring=_monitoring(settings, region) if "monitoring" in services else None,
        backup=_backup(settings) if settings.backup.enabled and _is_backed_up(settings, region, services) else None,
        etcd=_votes(region, server),
    )


def _services(region: Region, server: Server) -> tuple[str, ...]:
    """What runs on a server, by the names of the specification's fields."""
    database = _runs(region, server, "database")
    running = {
        "application": server.role in ("app", "kubernetes-worker"),
        "postgresql": database,
        "pgbouncer": database and region.database.pooler.enabled,
        "redis": _runs(region, server, "redis"),
        "monitoring": server.role == "monitoring"
        or (region.monitoring.placement == "app_server" and server.role == "app" and server.number == 1),
    }
    return tuple(name for name, runs in running.items() if runs)


def _is_backed_up(settings: Settings, region: Region, services: tuple[str, ...]) -> bool:
    """Every PostgreSQL, and Redis in the primary region: the other regions' Redis are copies, on servers with little to spare."""
    return "postgresql" in services or ("redis" in services and region is settings.regions[0])


def _runs(region: Region, server: Server, store: str) -> bool:
    """Whether a store runs on this server: on its own servers, or on the first application server."""
    section = region.database if store == "database" else region.redis
    if section.placement == "dedicated":
        return server.role == store
    return section.nodes > 0 and server.role == "app" and server.number == 1


def _votes(region: Region, server: Server) -> bool:
    """Whether etcd runs here: on the database nodes from two on, and on a witness where there are exactly two."""
    nodes = region.database.nodes if region.database.placement == "dedicated" else 0
    return nodes >= 2 and (server.role == "database" or (nodes == 2 and server.name == jump_host(region)))


def _application(settings: Settings, region: Region, cores: int) -> ApplicationService:
    app = region.app
    # Only the first region's stores take writes; those of the others follow them.
    stores = settings.regions[0]
    return ApplicationService(
        workers=app.workers or cores,
        worker_concurrency=app.worker_concurrency,
        worker_memory_mb=app.worker_memory_mb,
        port=app.port,
        health_check_path=app.health_check_path,
        hostnames=_hostnames(settings),
        database_pool_size=app.database_pool_size,
        database_max_overflow=app.database_max_overflow,
        image=app.image,
        migration_command=app.migration_command,
        database_nodes=_nodes(stores, "database"),
        database_port=PGBOUNCER_PORT if stores.database.pooler.enabled else POSTGRESQL_PORT,
        redis_nodes=_nodes(stores, "redis"),
        redis_sentinel=stores.redis.sentinel,
        proxy_protocol=region.load_balancer.enabled,
        uploads_bucket=_uploads_bucket(settings),
        origin_certificate=settings.edge.enabled and settings.edge.zone.origin_certificate == "cloudflare",
    )


def _uploads_bucket(settings: Settings) -> str:
    """The full name of the first bucket that may be written to and is not the backups'; empty without one."""
    buckets = settings.edge.buckets if settings.edge.enabled else ()
    names = (bucket.name for bucket in buckets if bucket.token == "write" and bucket.name != settings.backup.bucket)  # noqa: S105 (a kind)
    return next((f"{settings.name}-{name}" for name in names), "")


def _nodes(region: Region, store: str) -> tuple[str, ...]:
    """The servers of the region that hold a store, the first one first."""
    return tuple(server.name for server in servers_of(region) if _runs(region, server, store))


def _postgresql(settings: Settings, region: Region, server: Server) -> PostgresqlService:
    database, first = region.database, settings.regions[0]
    sizes = server_types(first.provider)
    follows = () if region is first else _nodes(first, "database")
    return PostgresqlService(
        version=database.version,
        primary=server.number == 1 and region is first,
        memory_mb=database.memory_mb,
        max_connections=max(database.max_connections, first.database.max_connections if follows else 0),
        reserved_connections=database.reserved_connections,
        synchronous_commit=database.synchronous_commit,
        standbys=database.nodes - 1,
        clients=_clients(region),
        follows=follows,
        primary_cores=max((sizes[server.server_type].cores for server in servers_of(first) if server.name in follows), default=0),
    )


def _clients(region: Region) -> int:
    """Connections that all application processes of the region may open together; on Kubernetes with every pool scaled up."""
    app = region.app
    each = app.database_pool_size + app.database_max_overflow
    cores = server_types(region.provider)
    hosts = [(cores[app.server_type].cores, app.servers)] if app.servers else []
    if region.kubernetes.enabled:
        hosts += [(cores[pool.server_type].cores, pool.nodes_max) for pool in region.kubernetes.pools]
    return sum((app.workers or core_count) * count * each for core_count, count in hosts)


def _redis(settings: Settings, region: Region, server: Server) -> RedisService:
    redis = region.redis
    return RedisService(
        max_memory_mb=redis.max_memory_mb,
        eviction_policy=redis.eviction_policy,
        primary=server.number == 1 and region is settings.regions[0],
        # Only servers that may become the primary vote: a cut between regions must not cost the first one its majority.
        sentinel=redis.sentinel and region is settings.regions[0],
    )


def _monitoring(settings: Settings, region: Region) -> MonitoringService:
    monitoring, hostnames = region.monitoring, _hostnames(settings)
    return MonitoringService(
        retention_days=monitoring.retention_days,
        thresholds=AlertThresholds(**monitoring.thresholds.model_dump()),
        probe_urls=tuple(f"https://{name}{region.app.health_check_path}" for name in hostnames),
        primary_region=settings.regions[0].name,
        backup_every_hours=(settings.backup.incremental_every_hours or settings.backup.full_every_hours) if settings.backup.enabled else 0,
        alerts_are_sent=bool(monitoring.alert_webhook_url),
    )


def _hostnames(settings: Settings) -> tuple[str, ...]:
    """The public names of the application."""
    return (f"{settings.edge.api_subdomain}.{settings.domain}",) if settings.edge.enabled else ()


def _backup(settings: Settings) -> BackupService:
    backup = settings.backup
    return BackupService(bucket=f"{settings.name}-{backup.bucket}", **backup.model_dump(exclude={"enabled", "bucket"}))
