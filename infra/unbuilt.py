"""What the settings can already say and no component can build yet."""

from dataclasses import dataclass

from infra.settings import Settings


@dataclass(frozen=True)
class UnbuiltPart:
    """A part that a stack asks for: the setting that asks, what the part is, and what it waits for."""

    path: str
    part: str
    why: str


def unbuilt_parts(settings: Settings) -> list[UnbuiltPart]:
    """Every part of the stack that can't be built yet, in the order of the settings."""
    parts: list[UnbuiltPart] = []
    database, redis = settings.regions[0].database, settings.regions[0].redis
    if database.engine == "citus":
        parts.append(UnbuiltPart("rungway:database.engine", "distributed PostgreSQL (Citus)", "it waits for its Kubernetes operator"))
    if database.engine == "cockroachdb":
        parts.append(UnbuiltPart("rungway:database.engine", "CockroachDB", "it waits for its Kubernetes operator"))
    if database.shards:
        parts.append(UnbuiltPart("rungway:database.shards", f"sharding over {database.shards} shards", "it waits for a distributed engine"))
    if redis.cluster:
        parts.append(UnbuiltPart("rungway:redis.cluster", "Redis Cluster", "it waits for its Kubernetes operator"))
    if settings.edge.worker_requests_per_month:
        parts.append(UnbuiltPart("rungway:edge.worker_requests_per_month", "the Cloudflare Worker", "it waits for the edge/ room"))
    if settings.serverless.enabled:
        parts.append(UnbuiltPart("rungway:serverless.enabled", "autoscaled containers", "they wait for a serverless component"))
        if settings.serverless.document_database:
            parts.append(UnbuiltPart("rungway:serverless.document_database", "a document database", "it waits for a component"))
    if settings.analytics.engine != "none":
        parts.append(
            UnbuiltPart(
                "rungway:analytics.engine",
                f"{settings.analytics.engine} on {settings.analytics.nodes} nodes",
                "it waits for its Kubernetes operator",
            )
        )
    return parts
