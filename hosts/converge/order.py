"""In which order the servers of a stack converge: the one rule that `pulumi up` and rehearsals go by."""

from collections.abc import Iterable

from hosts.specification import HostSpecification


def waves(hosts: Iterable[HostSpecification]) -> list[list[str]]:
    """Names of servers in the order in which they converge: those of one wave don't need each other to be ready.

    Stores and monitoring come first. Applications need the stores, and a database of another region copies the first one's.
    """
    everyone = list(hosts)
    second = [host.name for host in everyone if host.role in ("app", "kubernetes-worker") or _follows(host)]
    first = [host.name for host in everyone if host.name not in second]
    return [wave for wave in (first, second) if wave]


def _follows(host: HostSpecification) -> bool:
    return host.postgresql is not None and bool(host.postgresql.follows)
