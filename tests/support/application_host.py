"""An application server, for tests of what runs on it."""

from typing import Any

from hosts.specification import ApplicationService, HostSpecification, Peer


def application_host(*, peers: tuple[Peer, ...] = (), private_address: str | None = "10.0.1.10", **application: Any) -> HostSpecification:
    """The server app-eu-1 with 4 cores; `application` are the fields of ApplicationService that differ from two plain workers."""
    plain: dict[str, Any] = {
        "workers": 2,
        "worker_concurrency": 100,
        "worker_memory_mb": 200,
        "port": 8000,
        "health_check_path": "/health",
        "hostnames": ("api.example.com",),
        "database_pool_size": 5,
        "database_max_overflow": 10,
    }
    return HostSpecification(
        name="app-eu-1",
        role="app",
        provider="hetzner",
        location="nbg1",
        region="eu",
        cores=4,
        memory_mb=8192,
        disk_gb=80,
        architecture="x86",
        private_address=private_address,
        public=True,
        jump_host=None,
        data_mount=None,
        peers=peers,
        application=ApplicationService(**{**plain, **application}),
    )
