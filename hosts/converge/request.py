"""What a convergence is asked, and what it answers: plain data that crosses a process boundary as JSON."""

from dataclasses import dataclass, field
from pathlib import Path

from hosts.configuration import HostConfiguration


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How a server is reached: `address` is the SSH host.

    A server without a public address is reached through the SSH host `jump_address`, as the same user with the same key. Jump hosts and
    keys may also come from the OpenSSH client configuration `config_file`, which is not read where there is a `jump_address`. Paths may
    start with ~. A server that doesn't answer is tried again for `patience_seconds`.
    """

    address: str
    jump_address: str | None = None
    user: str = "admin"
    port: int = 22
    key_file: Path | None = None
    config_file: Path | None = None
    known_hosts_file: Path | None = None
    patience_seconds: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Make a server what `configuration` says.

    `secrets` are by name; `addresses` are private addresses by server, needed for those that the provider assigns; `public_addresses` are
    IPv6 addresses by server, needed for those of other regions.
    """

    configuration: HostConfiguration
    connection: Connection
    secrets: dict[str, str]
    addresses: dict[str, str]
    public_addresses: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something on a server that differs. `now` is the text of a file that is neither secret nor new nor large, else None."""

    kind: str
    name: str
    now: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceResult:
    """One service of a server: what differed, and how long it took to change it, in seconds (0.0 where it was only looked at)."""

    service: str
    changes: tuple[Change, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a convergence found and did. `undone` names services whose interrupted change was taken back first."""

    server: str
    services: tuple[ServiceResult, ...]
    undone: tuple[str, ...]
    seconds: float

    @property
    def changes(self) -> int:
        """How many things differed."""
        return sum(len(service.changes) for service in self.services)
