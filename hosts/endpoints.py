"""Where the application finds its database and its Redis: the same two questions on every phase, with different answers.

A store on the same server is at 127.0.0.1. A store that can't change its server is at that server's private address. A store that can
(two or more database nodes, or Sentinel) is behind the HAProxy of the application server, at 127.0.0.1 again. Clients speak TLS with
the store itself in every case, and every server's certificate names 127.0.0.1.
"""

from hosts.configuration import address_of
from hosts.specification import ApplicationService, HostSpecification, Peer

LOOPBACK = "127.0.0.1"
POSTGRESQL_PORT = 5432
PGBOUNCER_PORT = 6432
REDIS_PORT = 6379

Endpoint = tuple[str, int]
"""An address (or its placeholder) and a port."""


def database_endpoint(host: HostSpecification) -> Endpoint | None:
    """Where the application on `host` connects to PostgreSQL, or to the PgBouncer before it; None in a stack without a database.

    Raises:
        ValueError: the server runs no application, or a database node is not among its peers.
    """
    application = _application(host)
    return _endpoint(host, application.database_nodes, application.database_port, moves=database_moves(host))


def redis_endpoint(host: HostSpecification) -> Endpoint | None:
    """Where the application on `host` connects to Redis; None in a stack without Redis.

    Raises:
        ValueError: the server runs no application, or a Redis node is not among its peers.
    """
    application = _application(host)
    return _endpoint(host, application.redis_nodes, REDIS_PORT, moves=application.redis_sentinel)


def database_moves(host: HostSpecification) -> bool:
    """Whether the database's primary can change its server: Patroni runs it from two nodes on."""
    return len(_application(host).database_nodes) > 1


def nodes(host: HostSpecification, names: tuple[str, ...]) -> tuple[Peer, ...]:
    """The peers of those names, in their order.

    Raises:
        ValueError: a name that no peer has.
    """
    peers = {peer.name: peer for peer in host.peers}
    missing = [name for name in names if name not in peers]
    if missing:
        raise ValueError(f"{host.name}: peers: found none named {', '.join(missing)}; needed: every server that holds a store")
    return tuple(peers[name] for name in names)


def _endpoint(host: HostSpecification, names: tuple[str, ...], port: int, *, moves: bool) -> Endpoint | None:
    if not names:
        return None
    if moves or names[0] == host.name:
        return LOOPBACK, port
    return address_of(nodes(host, names)[0]), port


def _application(host: HostSpecification) -> ApplicationService:
    if host.application is None:
        raise ValueError(f"{host.name}: application: found none; needed: a server that runs the application")
    return host.application
