"""The typed settings of a stack: one model for every key that a stack file may hold.

Data flows one way: stack file → `Settings` → components and host specifications. Sections (`app`, `database`, `redis`,
`monitoring`, `kubernetes`, `load_balancer`) are written once at the top level and apply to every region; a region may override any
key of them. `Region` therefore carries its own, fully resolved sections, and the builder only ever reads those.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Provider = Literal["hetzner", "digitalocean"]
Placement = Literal["dedicated", "app_server"]

ResourceName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$")]
"""Lower-case letters, digits and hyphens, 1 to 32 characters: what every provider accepts as part of a name."""

PLAIN_PATH = r"^/[A-Za-z0-9._~/-]*$"
"""A path that nginx' configuration and a shell take as it is (hosts/services/application.py)."""

IMAGE = (
    r"^$|^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?/)?[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$"
)
"""Nothing, or the reference of a container image (github.com/distribution/reference, regexp.go), with a tag or a digest: without one a
rollout could not tell a new version from the old one."""


class Section(BaseModel):
    """A group of settings. Unknown keys are errors and nothing can be changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ApplicationSettings(Section):
    """Servers that run nginx and the application's containers."""

    servers: int = Field(0, ge=0, le=100, description="Application servers in the region.")
    server_type: str = Field("", description="The provider's server type, for example cx33 or s-4vcpu-8gb.")
    data_volume_size_gb: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Volume that holds the databases while they run on the first application server. It outlives that server and "
        "stays in later phases until it is removed on purpose. 0 means none.",
    )
    image_backups: bool = Field(False, description="The provider's own daily backups of the servers' disks.")
    image: str = Field(
        "",
        pattern=IMAGE,
        description="Container image of the application with its tag or digest, for example ghcr.io/acme/shop:1.4.2. Empty: none is "
        "deployed yet, and the servers answer 503.",
    )
    migration_command: str = Field(
        "", description="Runs once in a new image before it serves, for example 'alembic upgrade head'. Empty means nothing."
    )
    port: int = Field(8000, ge=1024, le=65535, description="Port of the application on its server's loopback interface.")
    health_check_path: str = Field("/health", pattern=PLAIN_PATH, description="Path that answers 200 when the application can serve.")
    workers: int = Field(0, ge=0, le=256, description="Uvicorn workers per server. 0 means one per core.")
    worker_concurrency: int = Field(100, ge=1, le=10_000, description="Requests that one worker serves at once (--limit-concurrency).")
    worker_memory_mb: int = Field(200, ge=50, le=65_536, description="Memory promised to each worker, in MiB.")
    database_pool_size: int = Field(10, ge=1, le=1000, description="SQLAlchemy pool_size of each worker.")
    database_max_overflow: int = Field(20, ge=0, le=1000, description="SQLAlchemy max_overflow of each worker.")


class ConnectionPoolerSettings(Section):
    """PgBouncer, on each database server (or on the application server when the database runs there)."""

    enabled: bool = Field(False, description="Put PgBouncer between the application and PostgreSQL.")
    max_client_connections: int = Field(1000, ge=10, le=100_000, description="max_client_conn of PgBouncer.")
    pool_size: int = Field(25, ge=1, le=5000, description="Server connections for the application's database (default_pool_size).")


class DatabaseSettings(Section):
    """PostgreSQL."""

    engine: Literal["postgresql", "citus", "cockroachdb"] = Field("postgresql", description="Database engine.")
    placement: Placement = Field("dedicated", description="On servers of its own, or on the first application server.")
    nodes: int = Field(
        0, ge=0, le=9, description="Database nodes in the region: the first is the primary (in the primary region), the rest standbys."
    )
    server_type: str = Field("", description="The provider's server type of a dedicated node.")
    volume_size_gb: int = Field(0, ge=0, le=10_000, description="Protected data volume of each dedicated node.")
    image_backups: bool = Field(False, description="The provider's own daily backups of the servers' disks.")
    version: int = Field(17, ge=14, le=18, description="PostgreSQL major version.")
    memory_mb: int = Field(0, ge=0, le=1_048_576, description="Memory promised to PostgreSQL, in MiB. 0 means what tuning computes.")
    max_connections: int = Field(100, ge=20, le=10_000, description="max_connections of PostgreSQL.")
    reserved_connections: int = Field(10, ge=3, le=100, description="Connections kept for administration, replication and monitoring.")
    pooler: ConnectionPoolerSettings = Field(default_factory=lambda: ConnectionPoolerSettings(), description="PgBouncer.")
    synchronous_commit: bool = Field(
        False, description="A commit waits for one standby: no acknowledged row is lost when the primary dies."
    )
    shards: int = Field(0, ge=0, le=64, description="Shards of a distributed database. 0 means unsharded.")


class RedisSettings(Section):
    """Redis."""

    placement: Placement = Field("dedicated", description="On servers of its own, or on the first application server.")
    nodes: int = Field(0, ge=0, le=9, description="Redis nodes in the region: the first is the primary, the rest replicas.")
    server_type: str = Field("", description="The provider's server type of a dedicated node.")
    volume_size_gb: int = Field(10, ge=0, le=10_000, description="Protected data volume of each dedicated node.")
    max_memory_mb: int = Field(256, ge=16, le=1_048_576, description="maxmemory of Redis, in MiB.")
    eviction_policy: Literal["allkeys-lru", "volatile-lru", "noeviction"] = Field("allkeys-lru", description="maxmemory-policy of Redis.")
    sentinel: bool = Field(False, description="Automatic failover by Sentinel; needs three nodes.")
    cluster: bool = Field(False, description="Redis Cluster (sharded).")


class AlertThresholds(Section):
    """When the phase is outgrown or in trouble. Percentages of the whole, milliseconds for times."""

    cpu_warning_percent: int = Field(70, ge=1, le=100, description="Average CPU use that warns.")
    cpu_critical_percent: int = Field(90, ge=1, le=100, description="Average CPU use that pages.")
    memory_warning_percent: int = Field(80, ge=1, le=100, description="Memory use that warns.")
    memory_critical_percent: int = Field(90, ge=1, le=100, description="Memory use that pages.")
    response_p95_warning_ms: int = Field(500, ge=1, description="95th percentile of the response time that warns.")
    response_p95_critical_ms: int = Field(1000, ge=1, description="95th percentile of the response time that pages.")
    connections_warning_percent: int = Field(70, ge=1, le=100, description="Use of the database's connections that warns.")
    connections_critical_percent: int = Field(90, ge=1, le=100, description="Use of the database's connections that pages.")
    error_rate_warning_percent: int = Field(1, ge=0, le=100, description="Share of failed requests that warns.")
    error_rate_critical_percent: int = Field(5, ge=0, le=100, description="Share of failed requests that pages.")
    cache_hit_warning_percent: int = Field(70, ge=0, le=100, description="Cache hit ratio below which to warn.")


class MonitoringSettings(Section):
    """Prometheus, Alertmanager, Grafana and Loki on a server of their own, or the first two beside the application."""

    placement: Placement = Field(
        "dedicated",
        description="On a server of its own, or on the application server while the stack has no other: metrics and alerts, no Grafana.",
    )
    servers: int = Field(0, ge=0, le=1, description="Monitoring servers in the region.")
    server_type: str = Field("", description="The provider's server type.")
    volume_size_gb: int = Field(0, ge=0, le=10_000, description="Data volume for metrics and logs. 0 keeps them on the server's disk.")
    retention_days: int = Field(30, ge=1, le=3650, description="How long metrics and logs are kept.")
    alert_webhook_url: str = Field(
        "",
        description="Where alerts are posted to; who knows it can post there too, so set it with --secret. Empty: nobody is told.",
    )
    thresholds: AlertThresholds = Field(default_factory=lambda: AlertThresholds(), description="Alert thresholds.")


class LoadBalancerSettings(Section):
    """The provider's load balancer in front of the application tier of a region."""

    enabled: bool = Field(False, description="Put a load balancer in front of the application tier.")
    type: str = Field("", description="Hetzner: lb11, lb21 or lb31. DigitalOcean: the number of load balancer nodes, as '1' to '100'.")
    algorithm: Literal["round_robin", "least_connections"] = Field("round_robin", description="How requests are spread.")


class KubernetesPool(Section):
    """A pool of equal Kubernetes worker nodes."""

    name: ResourceName = Field(description="Name of the pool; frozen once used.")
    server_type: str = Field(description="The provider's server type of a node.")
    nodes_min: int = Field(ge=1, le=100, description="Nodes to start with, and the least that autoscaling keeps.")
    nodes_max: int = Field(ge=1, le=100, description="The most that autoscaling adds up to.")


class KubernetesSettings(Section):
    """Kubernetes for the application tier: managed at DigitalOcean, k3s on servers at Hetzner."""

    enabled: bool = Field(False, description="Run the application tier on Kubernetes.")
    version: str = Field(
        "", description="Kubernetes version: the provider's slug at DigitalOcean, the k3s channel at Hetzner. Empty: the catalogue's."
    )
    control_nodes: Literal[1, 3] = Field(
        1, description="k3s control nodes at Hetzner; at DigitalOcean 3 turns the highly available control plane on."
    )
    control_server_type: str = Field("", description="Server type of a k3s control node (Hetzner only).")
    pools: tuple[KubernetesPool, ...] = Field((), description="Worker pools.")


class Region(Section):
    """One region, with the sections that hold in it."""

    name: ResourceName = Field(description="Short name, part of every resource name in the region; frozen once used.")
    provider: Provider = Field(description="Where the region's servers are.")
    location: str = Field(description="The provider's location, for example nbg1 or fra1.")
    cidr: str = Field(description="Private addresses of the region, inside network.cidr; a /20 or larger. Frozen once used.")
    app: ApplicationSettings
    database: DatabaseSettings
    redis: RedisSettings
    monitoring: MonitoringSettings
    load_balancer: LoadBalancerSettings
    kubernetes: KubernetesSettings


class NetworkSettings(Section):
    """The private network."""

    cidr: str = Field("10.0.0.0/12", description="All private addresses of the stack. Frozen: a change replaces the network.")


class CorsRule(Section):
    """Which web origins may use a bucket directly."""

    origins: tuple[str, ...] = Field(description="Origins, for example https://www.example.com. '{site}' stands for the stack's site.")
    methods: tuple[Literal["GET", "PUT", "POST", "DELETE", "HEAD"], ...] = Field(("GET",), description="HTTP methods.")
    headers: tuple[str, ...] = Field((), description="Request headers that may be sent.")
    max_age_seconds: int = Field(3600, ge=0, le=86_400, description="How long a browser may cache the answer.")


class BucketSettings(Section):
    """An R2 bucket. Its name at Cloudflare is <rungway:name>-<name>."""

    name: ResourceName = Field(description="Name of the bucket within the stack; frozen once used.")
    access: Literal["private", "public"] = Field(
        "private", description="Public buckets are served at <subdomain>.<domain> through the CDN."
    )
    subdomain: str = Field("", description="Host name of a public bucket, without the domain.")
    cors: tuple[CorsRule, ...] = Field((), description="Cross-origin rules.")
    delete_after_days: int = Field(0, ge=0, le=36_500, description="Objects are deleted after so many days. 0 keeps them.")
    abort_uploads_after_days: int = Field(7, ge=1, le=365, description="Unfinished multipart uploads are deleted after so many days.")
    lock_days: int = Field(0, ge=0, le=36_500, description="Objects can't be deleted or overwritten for so many days. 0 means no lock.")
    cache_seconds: int = Field(0, ge=0, le=31_536_000, description="How long the CDN and browsers cache objects of a public bucket.")
    token: Literal["none", "read", "write"] = Field("none", description="Create a token scoped to this bucket alone.")
    location: Literal["", "apac", "eeur", "enam", "weur", "wnam", "oc"] = Field("", description="Location hint. Frozen once used.")
    storage_gb: int = Field(10, ge=0, description="Expected data, for the cost: GB stored.")
    writes_per_month: int = Field(100_000, ge=0, description="Expected class A operations a month, for the cost.")
    reads_per_month: int = Field(1_000_000, ge=0, description="Expected class B operations a month, for the cost.")


class StaticSiteSettings(Section):
    """The front end, on Cloudflare Pages."""

    enabled: bool = Field(False, description="Create a Pages project and its domain.")
    subdomain: str = Field("www", description="Host name of the site, without the domain. '@' is the domain itself.")
    production_branch: str = Field("main", description="Branch whose deployments are live.")


class ZoneSecuritySettings(Section):
    """What Cloudflare demands of visitors and of our servers."""

    tls_mode: Literal["full", "strict"] = Field("strict", description="How Cloudflare checks the server's certificate.")
    origin_certificate: Literal["cloudflare", "acme"] = Field(
        "cloudflare",
        description="Who certifies the servers. cloudflare: Cloudflare itself, for 15 years, which its strict mode trusts from the first "
        "request on. acme: Let's Encrypt, over HTTP, which everybody trusts and Cloudflare's strict mode keeps the first one of away.",
    )
    minimum_tls_version: Literal["1.2", "1.3"] = Field("1.2", description="Oldest TLS version that visitors may use.")
    hsts_max_age_seconds: int = Field(15_552_000, ge=0, le=63_072_000, description="Strict-Transport-Security max-age. 0 turns it off.")
    hsts_include_subdomains: bool = Field(False, description="Strict-Transport-Security covers subdomains too.")


class EdgeSettings(Section):
    """Cloudflare: DNS, zone settings, CDN, static site, buckets."""

    enabled: bool = Field(True, description="Put Cloudflare in front. Without it only servers are built.")
    api_subdomain: str = Field("api", description="Host name of the application, without the domain.")
    tls: bool = Field(True, description="Serve the application over TLS. Needs a domain.")
    cdn: bool = Field(False, description="Tiered cache and cache rules.")
    global_load_balancing: bool = Field(False, description="Cloudflare Load Balancing across regions, with health checks.")
    steering: Literal["off", "proximity", "dynamic_latency"] = Field(
        "off",
        description="How global load balancing chooses a region. off: the first healthy one, in the order of the regions. proximity and "
        "dynamic_latency: the nearest or the fastest one, which Cloudflare sells as an add-on (not in the prices here).",
    )
    zone: ZoneSecuritySettings = Field(default_factory=lambda: ZoneSecuritySettings(), description="TLS mode, HSTS, minimum TLS version.")
    static_site: StaticSiteSettings = Field(default_factory=lambda: StaticSiteSettings(), description="The front end.")
    buckets: tuple[BucketSettings, ...] = Field((), description="R2 buckets.")
    worker_requests_per_month: int = Field(0, ge=0, description="Expected Worker requests a month, for the cost. 0 means no Worker.")


class BackupSettings(Section):
    """Backups of the database, to an R2 bucket."""

    enabled: bool = Field(False, description="Back the database up to the bucket.")
    bucket: str = Field("", description="Name of the entry of edge.buckets that holds the backups.")
    full_every_hours: int = Field(24, ge=1, le=744, description="Hours between full backups.")
    incremental_every_hours: int = Field(6, ge=0, le=168, description="Hours between incremental backups. 0 means none.")
    retention_days: int = Field(14, ge=1, le=3650, description="How long backups, and with them point-in-time recovery, reach back.")
    recovery_point_minutes: int = Field(5, ge=1, le=10_080, description="Promised: the most data, in minutes, that a restore loses.")
    recovery_time_minutes: int = Field(60, ge=1, le=10_080, description="Promised: the longest time that a restore takes.")


class ConvergenceSettings(Section):
    """How `pulumi up` makes every server what its configuration says: over SSH, from the machine that it runs on."""

    ssh_key_file: str = Field(
        "",
        pattern=r"^([~/].*)?$",
        description="The private key, without a passphrase, of one of ssh_public_keys on the machine that runs `pulumi up`. Empty: it "
        "builds servers and does not converge them.",
    )


class ServerlessSettings(Section):
    """Containers that scale with load, down to zero."""

    enabled: bool = Field(False, description="Run the application as autoscaled containers.")
    instances_min: int = Field(0, ge=0, le=1000, description="Instances kept warm.")
    instances_max: int = Field(2, ge=1, le=1000, description="The most instances.")
    cpu: int = Field(1, ge=1, le=16, description="Virtual CPUs of an instance.")
    memory_mb: int = Field(512, ge=128, le=65_536, description="Memory of an instance, in MiB.")
    concurrency: int = Field(80, ge=1, le=1000, description="Requests that one instance serves at once.")
    document_database: bool = Field(False, description="A document database beside the containers.")


class AnalyticsSettings(Section):
    """An analytical database beside the main one."""

    engine: Literal["none", "clickhouse"] = Field("none", description="Analytical engine.")
    nodes: int = Field(0, ge=0, le=64, description="Nodes of the analytical database.")


class BudgetSettings(Section):
    """What the phase may cost."""

    monthly_amount: float = Field(0, ge=0, description="The most that the phase may cost a month. 0 means no budget.")
    currency: Literal["EUR", "USD"] = Field("EUR", description="Currency of the budget, and of the plan's figures.")


class TargetSettings(Section):
    """What the phase is for: shown in plans and used by advice, never by a resource."""

    users_min: int = Field(0, ge=0, description="Registered users from which the phase fits.")
    users_max: int = Field(0, ge=0, description="Registered users up to which the phase fits. 0 means no limit stated.")
    concurrent_users: int = Field(0, ge=0, description="Users at the same time.")
    requests_per_second: int = Field(0, ge=0, description="Peak requests a second.")
    uptime_percent: float = Field(0, ge=0, le=100, description="Promised availability.")


class Settings(Section):
    """Everything that a stack file says, checked and resolved."""

    name: ResourceName = Field(description="Name of the application: prefix of buckets, label of every resource. Frozen once used.")
    architecture: Literal["x86", "arm"] = Field(
        "x86", description="Processor architecture of every server; an edit can't change it in place."
    )
    regions: tuple[Region, ...] = Field(
        description="Regions; the first is the primary one. Append: another order is another primary (docs/replication.md)."
    )
    network: NetworkSettings
    edge: EdgeSettings
    backup: BackupSettings
    convergence: ConvergenceSettings
    serverless: ServerlessSettings
    analytics: AnalyticsSettings
    budget: BudgetSettings
    targets: TargetSettings
    domain: str = Field(description="The zone's domain, for example example.com.")
    cloudflare_account_id: str = Field(description="Cloudflare account id, 32 hexadecimal digits.")
    cloudflare_zone_id: str = Field(description="Cloudflare zone id of the domain, 32 hexadecimal digits.")
    ssh_public_keys: tuple[str, ...] = Field(description="SSH public keys of the administrators.")
    existing_ssh_keys: tuple[str, ...] = Field(
        description="Keys already registered at the provider, by name (Hetzner) or fingerprint (DigitalOcean)."
    )
    admin_cidrs: tuple[str, ...] = Field(description="Networks from which administrators reach the servers, for example 198.51.100.7/32.")
