"""The dated catalogue of what exists at each provider (sizes.yaml); prices are in `infra.catalog.prices`."""

import functools
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

# Not ruamel.yaml, whose round trips nobody needs here: every plan waits for this file.
import yaml

SIZES_FILE = Path(__file__).with_name("sizes.yaml")


@dataclass(frozen=True)
class ServerType:
    """A size of server that a provider sells. `locations` is empty where it is sold everywhere; `scarce` is when it was last sold out."""

    name: str
    cores: int
    memory_mb: int
    disk_gb: int
    architecture: str
    dedicated: bool
    locations: tuple[str, ...]
    scarce: date | None


@dataclass(frozen=True)
class Location:
    """A place with servers. Private networks span a `network_zone`; latitude and longitude are in degrees."""

    name: str
    network_zone: str
    country: str
    latitude: float
    longitude: float


def server_types(provider: str) -> dict[str, ServerType]:
    """The server types that can be ordered at a provider, by name."""
    return {
        name: ServerType(
            name=name,
            cores=row["cores"],
            memory_mb=row["memory_gb"] * 1024,
            disk_gb=row["disk_gb"],
            architecture=row.get("architecture", "x86"),
            dedicated=row.get("dedicated", False),
            locations=tuple(row.get("locations", ())),
            scarce=row.get("scarce"),
        )
        for name, row in _sizes()["server_types"][provider].items()
        if "retired" not in row
    }


def replacement_of_retired(provider: str, name: str) -> str | None:
    """The type that took the place of a retired one; None when `name` is not a retired type."""
    row = _sizes()["server_types"][provider].get(name, {})
    return str(row["replaced_by"]) if "retired" in row else None


def locations(provider: str) -> dict[str, Location]:
    """The provider's locations, by name."""
    return {name: Location(name, **row) for name, row in _sizes()["locations"][provider].items()}


def load_balancer_types(provider: str) -> tuple[str, ...]:
    """The provider's load balancer types; empty where a load balancer is sized by its number of nodes."""
    return tuple(_sizes()["load_balancer_types"].get(provider, ()))


def kubernetes_version(provider: str) -> str:
    """The Kubernetes version that a stack gets when it names none: a k3s channel at Hetzner, a version slug at DigitalOcean."""
    return str(_sizes()["kubernetes_versions"][provider])


@functools.cache
def _sizes() -> Any:
    with SIZES_FILE.open(encoding="utf-8") as file:
        # The C parser where PyYAML has it: four times as fast.
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both loaders are safe)
