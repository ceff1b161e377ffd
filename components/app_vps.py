"""An application server."""

import pulumi

from components.server import ServerArgs, ServerComponent


class AppVPS(ServerComponent):
    """A server for nginx and the application's containers. It can be rebuilt at any time."""

    def __init__(self, name: str, args: ServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:AppVPS", name, {}, opts)
        self._build("AppVPS", name, args, public_ipv4=True, holds_data=False)
