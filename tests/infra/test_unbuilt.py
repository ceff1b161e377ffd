"""What a stack asks for and nobody can build yet is named by the setting that asks."""

from infra.unbuilt import unbuilt_parts
from tests.support.stack_config import read


def test_what_is_built_is_not_named() -> None:
    assert unbuilt_parts(read()) == []


def test_every_part_is_named_once_with_its_reason() -> None:
    settings = read(
        database={"engine": "citus", "shards": 32},
        redis={"cluster": True},
        edge={"worker_requests_per_month": 1000},
        serverless={"enabled": True, "document_database": True},
        analytics={"engine": "clickhouse", "nodes": 3},
    )

    assert [f"{part.path}: {part.part} is not built yet: {part.why}" for part in unbuilt_parts(settings)] == [
        "rungway:database.engine: distributed PostgreSQL (Citus) is not built yet: it waits for its Kubernetes operator",
        "rungway:database.shards: sharding over 32 shards is not built yet: it waits for a distributed engine",
        "rungway:redis.cluster: Redis Cluster is not built yet: it waits for its Kubernetes operator",
        "rungway:edge.worker_requests_per_month: the Cloudflare Worker is not built yet: it waits for the edge/ room",
        "rungway:serverless.enabled: autoscaled containers is not built yet: they wait for a serverless component",
        "rungway:serverless.document_database: a document database is not built yet: it waits for a component",
        "rungway:analytics.engine: clickhouse on 3 nodes is not built yet: it waits for its Kubernetes operator",
    ]
    assert [part.part for part in unbuilt_parts(read(database={"engine": "cockroachdb"}))] == ["CockroachDB"]
