"""Reads an exported state (`pulumi stack export`) as a plan, to compare what runs with what a stack file asks for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rungway.errors import RungwayError
from rungway.model import SECRET, Plan, Resource

# sdk/go/common/resource/sig/sig.go: how the engine marks what is more than JSON.
_SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (a public constant)
_ASSET_SIGNATURES = {"c44067f5952c0a294b673a41bacd8c17": "asset", "0def7320c3a5731c473e5ecbe6d01bc7": "archive"}
_REFERENCE_SIGNATURE = "5cf8f73096256a8f31e491e813e4eb8e"

_VERSIONS = (3, 4)
_LARGEST_FILE_BYTES = 200_000_000
_HINT = "write it with `pulumi stack export --stack <stack> --file state.json`"


def plan_from_state(path: Path) -> Plan:
    """What the state in `path` holds, as a plan: resources that run, with their inputs, parents, protection and dependencies.

    Left out are what the engine adds by itself (default providers), what it is about to delete, what was only read, and the inputs that a
    provider filled in (names that it made up among them). Secrets are masked, whether they are encrypted in the file or not. The plan
    has no costs; `rungway.cost.price` adds them.

    Raises:
        RungwayError: no such file, or not an exported state that can be read.
    """
    document = _read(path)
    version = document.get("version")
    if "checkpoint" in document:
        raise RungwayError(f"{path}: found a backend's own checkpoint; allowed: an exported state", hint=_HINT)
    if version not in _VERSIONS:
        raise RungwayError(
            f"{path}: version: found {json.dumps(version)}; allowed: {', '.join(str(known) for known in _VERSIONS)}", hint=_HINT
        )
    deployment = document.get("deployment")
    if not isinstance(deployment, dict):
        raise RungwayError(f"{path}: deployment: found {_shown(deployment)}; allowed: an object", hint=_HINT)
    entries = deployment.get("resources") or []
    if not isinstance(entries, list):
        raise RungwayError(f"{path}: deployment.resources: found {_shown(entries)}; allowed: a list", hint=_HINT)
    resources = [
        _resource(entry, f"{path}: deployment.resources[{index}]") for index, entry in enumerate(entries) if not _is_left_out(entry)
    ]
    if not resources:
        raise RungwayError(f"{path}: found a state without resources; there is nothing to compare with")
    _, _, stack_and_rest = resources[0].urn.partition("urn:pulumi:")
    stack, project = stack_and_rest.split("::")[:2]
    return Plan(stack=str(path), pulumi_stack=stack, project=project, resources=tuple(resources), source="state")


def _read(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE_BYTES:
            raise RungwayError(f"{path}: found {size:,} bytes; allowed: {_LARGEST_FILE_BYTES:,}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RungwayError(f"{path}: can't read the state: {error.strerror}", hint=_HINT) from error
    except UnicodeDecodeError as error:
        raise RungwayError(f"{path}: found no text; it may be compressed or encrypted; allowed: JSON", hint=_HINT) from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, ValueError) else "it is nested too deeply"
        raise RungwayError(f"{path}: not valid JSON: {reason}", hint=_HINT) from error
    if not isinstance(document, dict):
        raise RungwayError(f"{path}: found {_shown(document)}; allowed: an object", hint=_HINT)
    return document


def _is_left_out(entry: Any) -> bool:
    return isinstance(entry, dict) and bool(
        entry.get("delete") or entry.get("external") or str(entry.get("type", "")).startswith("pulumi:providers:")
    )


def _resource(entry: Any, path: str) -> Resource:
    if not isinstance(entry, dict):
        raise RungwayError(f"{path}: found {_shown(entry)}; allowed: an object", hint=_HINT)
    urn, type_ = entry.get("urn"), entry.get("type")
    if not isinstance(urn, str) or not urn.startswith("urn:pulumi:") or urn.count("::") < 3:
        raise RungwayError(f"{path}.urn: found {_shown(urn)}; allowed: a URN", hint=_HINT)
    if not isinstance(type_, str):
        raise RungwayError(f"{path}.type: found {_shown(type_)}; allowed: a type token", hint=_HINT)
    inputs = entry.get("inputs") or {}
    if not isinstance(inputs, dict):
        raise RungwayError(f"{path}.inputs: found {_shown(inputs)}; allowed: an object", hint=_HINT)
    parent = entry.get("parent") or None
    if parent is not None and not isinstance(parent, str):
        raise RungwayError(f"{path}.parent: found {_shown(parent)}; allowed: a URN", hint=_HINT)
    return Resource(
        urn=urn,
        type=type_,
        name=urn.split("::", 3)[3],
        parent=parent,
        component=not entry.get("custom", False),
        inputs=_plain(inputs),
        protect=bool(entry.get("protect")),
        ignore_changes=_texts(entry, "ignoreChanges", path),
        aliases=_texts(entry, "aliases", path),
        dependencies=tuple(sorted(set(_texts(entry, "dependencies", path)))),
        retain_on_delete=bool(entry.get("retainOnDelete")),
    )


def _texts(entry: Mapping[str, Any], name: str, path: str) -> tuple[str, ...]:
    found = entry.get(name) or []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise RungwayError(f"{path}.{name}: found {_shown(found)}; allowed: a list of strings", hint=_HINT)
    return tuple(found)


def _plain(value: Any) -> Any:
    """The value as a plan holds it: without what the provider filled in, with placeholders for secrets."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    signature = value.get(_SIGNATURE_KEY)
    if signature == _SECRET_SIGNATURE:
        return SECRET
    if signature in _ASSET_SIGNATURES:
        return {_ASSET_SIGNATURES[signature]: {key: value[key] for key in sorted(value) if key != _SIGNATURE_KEY}}
    if signature == _REFERENCE_SIGNATURE:
        return value.get("id") or value.get("urn")
    return {key: _plain(value[key]) for key in sorted(value) if key not in _filled_in(value)}


def _filled_in(value: Mapping[str, Any]) -> set[str]:
    """The keys that the provider filled in, and the one that lists them."""
    listed = value.get("__defaults")
    return {"__defaults", *(key for key in listed if isinstance(key, str))} if isinstance(listed, list) else {"__defaults"}


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value, ensure_ascii=False)
