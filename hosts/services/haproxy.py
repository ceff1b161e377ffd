"""HAProxy on an application server, between the application and stores whose primary can change its server.

It passes TCP through, so clients speak TLS with the store itself, and it asks the stores who the primary is: Patroni over its
REST interface, Redis in its own protocol. Connections to a server that stops being the primary end at once, so that no client goes on
writing to it, and the client's next connection reaches the new one.
"""

from hosts.configuration import HostFile, Service, address_of, secret
from hosts.endpoints import LOOPBACK, database_moves, nodes
from hosts.services.base import AUTHORITY
from hosts.specification import HostSpecification
from hosts.templating import render_template

CHECK_TIMEOUT_MS = 1500
"""How long an answer to a check may take, in milliseconds: Patroni answers within a few, a TLS handshake on a busy server takes longer."""


def haproxy(host: HostSpecification) -> Service | None:
    """HAProxy on a server of the role app whose database or Redis can fail over; None elsewhere."""
    application = host.application
    if host.role != "app" or application is None:
        return None
    database = application.database_nodes if database_moves(host) else ()
    redis = application.redis_nodes if application.redis_sentinel else ()
    if not database and not redis:
        return None
    configuration = render_template(
        "haproxy/haproxy.cfg",
        database=[(node.name, address_of(node)) for node in nodes(host, database)],
        database_port=application.database_port,
        redis=[(node.name, address_of(node)) for node in nodes(host, redis)],
        redis_password=secret("redis"),
        check_timeout_ms=CHECK_TIMEOUT_MS,
    )
    ports = [str(application.database_port)] * bool(database) + ["6379"] * bool(redis)
    return Service(
        name="haproxy",
        packages=("haproxy",),
        files=(
            HostFile(path="/etc/haproxy/haproxy.cfg", content=configuration, mode=0o600),
            HostFile(path="/etc/systemd/system/haproxy.service.d/rungway.conf", content=render_template("haproxy/rungway.conf")),
        ),
        reads=(AUTHORITY,),
        checks=("haproxy -c -q -f /etc/haproxy/haproxy.cfg",),
        units=("haproxy.service",),
        on_change="reload",
        # That it listens, not that a primary answers: the stores converge by themselves.
        probe=" && ".join(f"(: < /dev/tcp/{LOOPBACK}/{port})" for port in ports),
    )
