"""A server with nothing on it, for tests of what every server has."""

from typing import Any

from hosts.reachability import Rule
from hosts.specification import HostSpecification

SSH_RULE = Rule("SSH through the jump host", "tcp", "22", ("10.0.0.0/12",))

_SMALL: dict[str, Any] = {
    "name": "app-eu-1",
    "role": "app",
    "provider": "hetzner",
    "location": "nbg1",
    "region": "eu",
    "cores": 2,
    "memory_mb": 4096,
    "disk_gb": 40,
    "architecture": "x86",
    "private_address": "10.0.1.10",
    "public": True,
    "jump_host": None,
    "data_mount": None,
    "rules": (SSH_RULE,),
}


def minimal_host(**changes: Any) -> HostSpecification:
    """That server, with some fields changed."""
    return HostSpecification(**{**_SMALL, **changes})
