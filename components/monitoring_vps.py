"""A monitoring server."""

import pulumi

from components.server import ServerArgs, ServerComponent


class MonitoringVPS(ServerComponent):
    """A server for Prometheus, Alertmanager, Grafana and Loki; administrators reach the private servers through it."""

    def __init__(self, name: str, args: ServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:MonitoringVPS", name, {}, opts)
        self._build("MonitoringVPS", name, args, public_ipv4=True, holds_data=False)
