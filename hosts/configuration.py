"""What must be true on one server, as data: packages, accounts, directories, files, tasks and running units, service by service.

`hosts.services` makes these values, `rungway render` writes them out, and `hosts.converge` makes them true. Any text may hold
placeholders for what is not known, or not to be shown, when it is rendered:

- `${secret:NAME}`: a generated password or token;
- `${address:SERVER}`: the private address of a server whose provider assigns it;
- `${public:SERVER}`: the public IPv6 address of a server;
- `${wireguard:key}`, `${wireguard-public:SERVER}` and `${wireguard-shared:SERVER}`: this server's private key of the links between regions,
  another server's public key, and the key that only these two share, each in base64;
- `${tls:authority}`, `${tls:certificate}` and `${tls:key}`: the stack's own certificate authority, this server's certificate, and its
  private key, each in PEM;
- `${tls:origin-certificate}` and `${tls:origin-key}`: the certificate of the public names that Cloudflare signed, and its key, in PEM.
"""

import re
from dataclasses import dataclass
from typing import Literal

from hosts.specification import HostSpecification, Peer

PLACEHOLDER = re.compile(r"\$\{(secret|address|public|tls|wireguard|wireguard-public|wireguard-shared):([a-z0-9-]+)\}")
"""What is filled in on the way to the server."""


def secret(name: str) -> str:
    """The placeholder of the secret `name`: lower-case letters, digits and hyphens."""
    return f"${{secret:{name}}}"


def address_of(server: HostSpecification | Peer) -> str:
    """The private address of a server, or its placeholder where the provider assigns it."""
    known = server.address if isinstance(server, Peer) else server.private_address
    return known or f"${{address:{server.name}}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A system account without a password or a login shell, in its own group and in `groups`, which exist already."""

    name: str
    home: str = "/nonexistent"
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory, made with its parents. `mode` is the permission bits."""

    path: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFile:
    """A file with its whole content. Its directory is made as needed; `mode` is the permission bits."""

    path: str
    content: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644

    @property
    def is_secret(self) -> bool:
        """Whether the content will hold a password or a private key."""
        return any(
            kind in ("secret", "wireguard-shared") or name in ("key", "origin-key") for kind, name in PLACEHOLDER.findall(self.content)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A step that files can't express, for example the creation of a database.

    Both texts are shell scripts, run by root with bash -eu. `unless` only looks, and exits with 0 when nothing is to do; `script` makes
    `unless` true. They reach the server as files that only root reads, so they may hold secrets; they never put one on a command line.
    """

    name: str
    unless: str
    script: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of a server: what belongs together is checked, replaced, restarted and rolled back together.

    In this order: `packages` are installed (Debian's; their own services don't start by it), accounts and directories are made, and when
    a file differs, `checks` run as root with the new files in a private view of the file system: only when each of these shell
    commands exits with 0 do the files replace the old ones. `before` runs, then `units` are enabled and started; a changed file has
    them restarted or reloaded (`on_change`). `probe` is a shell command that must exit with 0 within `probe_seconds`: else the old
    files come back and the units restart with them. `after` runs last. `masked` units never run. Files that this server must not have
    are in `absent`; units among them are stopped first. Files of earlier services that the units read when they start are in `reads`: a
    changed one counts like one of `files`.
    """

    name: str
    packages: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[HostFile, ...] = ()
    absent: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    before: tuple[Task, ...] = ()
    units: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    on_change: Literal["restart", "reload"] = "restart"
    probe: str = ""
    probe_seconds: int = 60
    after: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfiguration:
    """Everything on the server `name`, whose services converge in their order. `private_address` is None where the provider assigns it."""

    name: str
    private_address: str | None
    services: tuple[Service, ...]

    @property
    def files(self) -> tuple[HostFile, ...]:
        """The files of all services."""
        return tuple(file for service in self.services for file in service.files)

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages of all services, each once."""
        return tuple(dict.fromkeys(package for service in self.services for package in service.packages))
