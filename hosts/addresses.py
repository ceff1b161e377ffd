"""Private addresses: deterministic, so that firewalls and host files can name a server before it exists.

A region's subnet is cut into blocks of 256 addresses, one for each role. Blocks and offsets are frozen: an address never changes because
another server was added. The first block is the provider's (gateway) and stays empty.
"""

import ipaddress

BLOCKS = {
    "app": 1,
    "database": 2,
    "redis": 3,
    "monitoring": 4,
    "load-balancer": 5,
    "kubernetes-control": 6,
    "kubernetes-worker": 8,
}
"""Block of each role, frozen. Workers have the blocks from 8 to 15: 1,960 nodes."""

_BLOCK_SIZE = 256
_FIRST = 10
"""Offset of a role's first server in its block: Hetzner and DigitalOcean keep low addresses of a subnet for themselves."""
_WORKER_BLOCKS = 8
SMALLEST_PREFIX = 20
"""A region's subnet has at least 16 blocks: a /20."""


class AddressError(ValueError):
    """There is no such address; the text says why."""


def region_cidrs(network_cidr: str, count: int) -> list[str]:
    """The subnets of the first `count` regions when none is given: the first /16s of the network, in order.

    Raises:
        AddressError: the network has no room for so many.
    """
    network = ipaddress.ip_network(network_cidr)
    found = [] if network.prefixlen > 16 else [str(subnet) for _, subnet in zip(range(count), network.subnets(new_prefix=16), strict=False)]
    if len(found) < count:
        raise AddressError(f"{network_cidr} has room for {len(found)} regions of a /16; {count} are needed")
    return found


def address(region_cidr: str, role: str, number: int) -> str:
    """The private address of the `number`-th server (from 1) of a role in a region.

    Raises:
        AddressError: the subnet is smaller than a /20, or the role has no such server.
    """
    network = ipaddress.ip_network(region_cidr)
    if network.prefixlen > SMALLEST_PREFIX:
        raise AddressError(f"{region_cidr} is too small: a region needs at least a /{SMALLEST_PREFIX}")
    blocks = _WORKER_BLOCKS if role == "kubernetes-worker" else 1
    # The last address of a block is left out: in the last block it would be the subnet's broadcast address.
    per_block = _BLOCK_SIZE - _FIRST - 1
    block, offset = divmod(number - 1, per_block)
    if number < 1 or block >= blocks:
        raise AddressError(f"{role} {number}: a region has room for {role} 1 to {blocks * per_block}")
    return str(network.network_address + (BLOCKS[role] + block) * _BLOCK_SIZE + _FIRST + offset)
