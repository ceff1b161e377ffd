"""etcd: the vote on which PostgreSQL of a region is the primary.

The members are the region's database servers and, where there are exactly two of these, one witness, so that a majority outlives any one
server. They speak TLS with the stack's own certificates, to each other and to Patroni; without such a certificate nobody is heard.

A cluster needs a majority of its members, and servers converge one after another. So systemd does not wait until etcd is ready (a
drop-in changes Type=notify), and the probe asks for health only from the moment on when a majority can be reached. The list of members
counts on the first start alone: a member that joins or leaves a running cluster is a step of its own (`etcdctl member`).
"""

from hosts.configuration import Directory, HostFile, Service, address_of
from hosts.sandbox import sandbox
from hosts.services.base import TLS_FILES
from hosts.specification import HostSpecification, Peer
from hosts.templating import render_template

QUOTA_BYTES = 128 * 1024 * 1024
"""The most that the store may grow to before it refuses writes. Patroni keeps a few hundred keys of some KiB; a budget of 128 MiB of
memory (`hosts.budgets.ETCD_MB`) holds that much, since etcd maps its store into memory."""

COMPACTION = "1h"
"""Older revisions of a key are forgotten after this time: Patroni reads only the newest (etcd documentation, "Maintenance")."""

CHECK = "/usr/local/lib/rungway/etcd-check"
PROBE = "/usr/local/lib/rungway/etcd-probe"


def members(host: HostSpecification) -> tuple[HostSpecification | Peer, ...]:
    """Every member of the etcd cluster in the region of `host`, by name; empty where the region needs none."""
    voting: list[HostSpecification | Peer] = [peer for peer in host.peers if peer.etcd and peer.region == host.region]
    if host.etcd:
        voting.append(host)
    return tuple(sorted(voting, key=lambda member: member.name))


def etcd(host: HostSpecification) -> Service | None:
    """The member of the etcd cluster on `host`, None where it does not vote."""
    if not host.etcd:
        return None
    directory = f"{host.data_mount}/etcd" if host.data_mount else "/var/lib/etcd"
    voting = members(host)
    configuration = render_template(
        "etcd/etcd.yml",
        member=host.name,
        address=address_of(host),
        data_directory=directory,
        members=[f"{member.name}=https://{address_of(member)}:2380" for member in voting],
        token=f"rungway-{host.region}",
        quota_bytes=QUOTA_BYTES,
        compaction=COMPACTION,
    )
    probe = render_template("etcd/probe.sh", addresses=[address_of(member) for member in voting], majority=len(voting) // 2 + 1)
    return Service(
        name="etcd",
        packages=("etcd-server", "etcd-client"),
        directories=(Directory(path=directory, owner="etcd", group="etcd", mode=0o700),),
        files=(
            HostFile(path="/etc/etcd/etcd.yml", content=configuration),
            HostFile(
                path="/etc/systemd/system/etcd.service.d/rungway.conf",
                content=render_template("etcd/rungway.conf", directory=directory, sandbox=sandbox(writable=(directory,))),
            ),
            HostFile(path=CHECK, content=render_template("etcd/check.sh", address=address_of(host)), mode=0o755),
            HostFile(path=PROBE, content=probe, mode=0o755),
        ),
        reads=TLS_FILES,
        checks=(CHECK,),
        units=("etcd.service",),
        probe=PROBE,
    )
