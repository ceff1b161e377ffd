"""Redis Sentinel: who the primary of Redis is, decided by a majority of the region's Redis servers.

As with Redis, two files: `sentinel.conf` is rendered and always wins at a start, and what Sentinel learns (the primary, the replicas, the
other Sentinels, epochs) is in a file beside the data that is written once and then belongs to it. Only the quorum is among what Sentinel
owns: a changed number of servers reaches it by SENTINEL SET.
"""

from hosts.configuration import Directory, HostFile, Service, Task, address_of, secret
from hosts.services.base import TLS_FILES
from hosts.services.redis import CHECK, cli, data_directory, redis_peers
from hosts.services.redis import CLI as REDIS_CLI
from hosts.specification import HostSpecification
from hosts.templating import render_template

GROUP = "main"
"""What Sentinel calls the primary and its replicas; clients ask for it by this name."""

PORT = 26379
CLI = "/usr/local/sbin/rungway-sentinel-cli"
ENVIRONMENT = "/etc/rungway/sentinel.env"

DOWN_AFTER_MS = 3000
"""How long the primary is silent before it counts as down. With 3 s a switch took 4.3 to 4.7 s in rehearsals; Redis' default is 30 s."""

FAILOVER_TIMEOUT_MS = 10_000
"""A failover that came to nothing is tried again after twice this time. Redis' default of 180 s leaves six minutes without a primary; in
rehearsals a whole switch took less than 6 s."""

INFO_PERIOD_MS = 2000
"""How often Sentinel asks a replica for its state. It elects no replica that it has not heard for 5 s, but asks only every 10 s until the
primary counts as down: in rehearsals 1 of 10 elections found no good replica for that reason, and waited for the next attempt."""


def sentinel(host: HostSpecification) -> Service | None:
    """The Sentinel beside the Redis of `host`; None where none is wanted."""
    if not (host.redis and host.redis.sentinel):
        return None
    others = [peer for peer in redis_peers(host) if peer.region == host.region]
    quorum = (len(others) + 1) // 2 + 1
    directory = data_directory(host)
    state_file = f"{directory}/sentinel-state.conf"
    configuration = render_template(
        "sentinel/sentinel.conf",
        group=GROUP,
        address=address_of(host),
        directory=directory,
        state_file=state_file,
        password=secret("redis-sentinel"),
        down_after_ms=DOWN_AFTER_MS,
        failover_timeout_ms=FAILOVER_TIMEOUT_MS,
    )
    state = Task(
        name="the first state of Sentinel",
        unless=f"test -s {state_file}",
        script=render_template(
            "sentinel/first-state.sh",
            group=GROUP,
            address=address_of(host),
            peers=[address_of(peer) for peer in others],
            quorum=quorum,
            state_file=state_file,
            cli=CLI,
            redis_cli=REDIS_CLI,
        ),
    )
    majority = Task(
        name="the majority of Sentinel",
        unless=f"{CLI} sentinel master {GROUP} | grep -x -A1 quorum | grep -qx {quorum}",
        script=f"{CLI} sentinel set {GROUP} quorum {quorum} | grep -qx OK",
    )
    return Service(
        name="sentinel",
        packages=("redis-sentinel", "redis-tools"),
        directories=(Directory(path=directory, owner="redis", group="redis", mode=0o750),),
        files=(
            HostFile(path="/etc/redis/sentinel.conf", content=configuration, group="redis", mode=0o640),
            HostFile(
                path="/etc/systemd/system/redis-sentinel.service.d/rungway.conf",
                content=render_template(
                    "sentinel/redis-sentinel.conf", directory=directory, state_file=state_file, cli=CLI, info_period_ms=INFO_PERIOD_MS
                ),
            ),
            HostFile(path=ENVIRONMENT, content=f"REDISCLI_AUTH='{secret('redis-sentinel')}'\n", mode=0o600),
            HostFile(path=CLI, content=cli("Sentinel", ENVIRONMENT, port=PORT, user="default"), mode=0o755),
        ),
        reads=TLS_FILES,
        checks=(f"{CHECK} redis-sentinel --sentinel monitor {GROUP} 127.0.0.1 6379 {quorum} --include /etc/redis/sentinel.conf",),
        before=(state,),
        units=("redis-sentinel.service",),
        probe=f"{CLI} ping | grep -qx PONG",
        after=(majority,),
    )
