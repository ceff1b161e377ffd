"""Brings the server types of infra/catalog/sizes.yaml up to date with what a provider's API says of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from ruamel.yaml.comments import CommentedSeq

from rungway.catalogue_file import one_line_row


@dataclass(frozen=True)
class Size:
    """A server type as an API describes it. `locations` are those where it is sold; `sold_out` when none of them has one left."""

    name: str
    cores: int
    memory_gb: int
    disk_gb: int
    architecture: str
    dedicated: bool
    locations: tuple[str, ...]
    sold_out: bool


def hetzner_sizes(server_types: Iterable[Mapping[str, Any]], today: date) -> list[Size]:
    """The entries of GET /v1/server_types. https://docs.hetzner.cloud/reference/cloud#tag/server-types"""
    sizes = []
    for entry in server_types:
        sold = [place for place in entry["locations"] if not _is_withdrawn(place, today)]
        if _is_withdrawn(entry, today):
            sold = []
        sizes.append(
            Size(
                name=entry["name"],
                cores=int(entry["cores"]),
                memory_gb=int(entry["memory"]),
                disk_gb=int(entry["disk"]),
                architecture=entry["architecture"],
                dedicated=entry["cpu_type"] == "dedicated",
                locations=tuple(place["name"] for place in sold),
                sold_out=not any(place.get("available", True) for place in sold),
            )
        )
    return sizes


def _is_withdrawn(thing: Mapping[str, Any], today: date) -> bool:
    deprecation = thing.get("deprecation")
    return deprecation is not None and datetime.fromisoformat(deprecation["unavailable_after"]).astimezone(UTC).date() < today


def digitalocean_sizes(sizes: Iterable[Mapping[str, Any]]) -> list[Size]:
    """The entries of GET /v2/sizes that are Droplets of whole gibibytes, without GPUs."""
    return [
        Size(
            name=entry["slug"],
            cores=int(entry["vcpus"]),
            memory_gb=entry["memory"] // 1024,
            disk_gb=int(entry["disk"]),
            architecture="x86",
            # Only the basic line, whose slugs start with s-, shares its cores.
            dedicated=not entry["slug"].startswith("s-"),
            locations=tuple(entry["regions"]) if entry["available"] else (),
            sold_out=False,
        )
        for entry in sizes
        if entry["memory"] % 1024 == 0 and not entry["slug"].startswith("gpu-")
    ]


def rewrite_sizes(document: Any, provider: str, sizes: Sequence[Size], today: date) -> list[str]:
    """Bring the rows of `provider` up to date in place; return what changed, a line each.

    A type that is sold nowhere any more becomes a retired one. A type is sold out (`scarce`) from the day on which no location has one.
    Locations that the catalogue does not have are left out; a type that every one of them sells names none, where that is how it was.
    """
    rows = document["server_types"][provider]
    known = list(document["locations"][provider])
    by_name = {size.name: size for size in sizes}
    lines: list[str] = []
    for name, row in rows.items():
        if "retired" in row:
            continue
        size = by_name.pop(name, None)
        places = [place for place in known if size is not None and place in size.locations]
        if size is None or not places:
            successor = _successor(row, sizes)
            if successor is None:
                lines.append(f"{provider} {name}: no longer offered, and nothing as large is: kept as it was")
                continue
            rows[name] = one_line_row()
            rows[name].update({"retired": f"{today:%Y-%m}", "replaced_by": successor})
            lines.append(f"{provider} {name}: no longer offered; the nearest is {successor}")
            continue
        lines += [f"{provider} {name}: {change}" for change in _update(row, size, places, known, today)]
    for name, size in by_name.items():
        places = [place for place in known if place in size.locations]
        if places and name not in rows:
            rows[name] = one_line_row()
            _update(rows[name], size, places, known, today)
            lines.append(f"{provider} {name}: new: {size.cores} cores, {size.memory_gb} GB")
    document["sources"][provider]["as_of"] = today
    return lines


def _successor(row: Any, sizes: Sequence[Size]) -> str | None:
    """The smallest type of the same kind that is sold and at least as large."""
    kind = (row.get("architecture", "x86"), row.get("dedicated", False))
    fitting = [
        size
        for size in sizes
        if (size.architecture, size.dedicated) == kind
        and size.locations
        and size.cores >= row["cores"]
        and size.memory_gb >= row["memory_gb"]
    ]
    return min(fitting, key=lambda size: (size.memory_gb, size.cores, size.disk_gb, size.name)).name if fitting else None


def _update(row: Any, size: Size, places: list[str], known: list[str], today: date) -> list[str]:
    everywhere = places == known and "locations" not in row
    wanted = {
        "cores": size.cores,
        "memory_gb": size.memory_gb,
        "disk_gb": size.disk_gb,
        "locations": None if everywhere else places,
        "architecture": None if size.architecture == "x86" else size.architecture,
        "dedicated": size.dedicated or None,
        "scarce": row.get("scarce", today) if size.sold_out else None,
    }
    changes = []
    for key, value in wanted.items():
        found = row.get(key)
        if value == found:
            continue
        changes.append(f"{key}: {_shown(found)} → {_shown(value)}")
        if value is None:
            del row[key]
        else:
            row[key] = _on_one_line(value) if isinstance(value, list) else value
    return changes


def _on_one_line(items: list[str]) -> CommentedSeq:
    sequence = CommentedSeq(items)
    sequence.fa.set_flow_style()
    return sequence


def _shown(value: Any) -> str:
    return "nothing" if value is None else ", ".join(value) if isinstance(value, list) else str(value)
