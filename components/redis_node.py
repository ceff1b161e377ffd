"""A Redis server."""

import pulumi

from components.data_volume import SMALLEST_GB
from components.server import ServerArgs, ServerComponent


class RedisNode(ServerComponent):
    """A server for Redis, its data on a protected volume. It has no public IPv4 address unless asked; nothing public reaches it."""

    def __init__(self, name: str, args: ServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:RedisNode", name, {}, opts)
        self._build("RedisNode", name, args, public_ipv4=False, holds_data=True, least_volume_gb=SMALLEST_GB)
