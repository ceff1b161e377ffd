"""What Rungway knows of the resource types that it uses: their inputs, what replaces them, whether they hold data.

The table, facts.json, is made by `python -m rungway.facts_refresh` and held to the providers' schemas by a test, so that a plan can
check inputs without a provider, a network or the schemas' many megabytes.
"""

import difflib
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rungway.model import SECRET, UNKNOWN, Finding, Level, Resource

_FACTS = Path(__file__).with_name("facts.json")


@functools.cache
def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(_FACTS.read_text())
    return facts


def known_types() -> frozenset[str]:
    """The type tokens in the table."""
    return frozenset(_facts()["types"])


def holds_data(type_: str) -> bool:
    """Whether a resource of this type holds what can't be made again: volumes, buckets, snapshots, databases."""
    return type_ in _facts()["holds_data"]


def secret_inputs(type_: str) -> frozenset[str]:
    """Top-level inputs that the provider's schema calls secret."""
    return frozenset(name for name, facts in _inputs(type_).items() if facts.get("secret"))


def forces_replacement(type_: str, path: str, before: Any = UNKNOWN, after: Any = UNKNOWN) -> bool:
    """Whether a change of the input at `path` (`location`, `nodePool.size`, `rules[0].port`) replaces a resource of this type.

    A property inside one that replaces does so too. `before` and `after` decide where only turning off or lowering replaces; while one
    of them is unknown it counts as replacing.
    """
    properties = _inputs(type_)
    for name in re.findall(r"[^.\[\]]+", path):
        facts = properties.get(name)
        if facts is None:
            # An index, or a key that a person chose: what it is inside of was looked at already.
            continue
        if "replace" in facts:
            return _replaces(facts["replace"], before, after)
        while "items" in facts or "values" in facts:
            facts = facts.get("items") or facts["values"]
        properties = facts.get("properties", {})
    return False


def _replaces(when: str, before: Any, after: Any) -> bool:
    if when == "always" or UNKNOWN in (before, after) or SECRET in (before, after):
        return True
    if when == "turned_off":
        return bool(before) and not after
    return _version(after) < _version(before)


def _version(text: Any) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(text)))


def check_inputs(resource: Resource) -> list[Finding]:
    """Every input that the provider would refuse: unknown, of the wrong JSON type, or missing. Placeholders are accepted anywhere.

    Components and explicit providers have no facts and no findings. A type that is not in the table gives a warning.
    """
    if resource.component or resource.type.startswith("pulumi:providers:"):
        return []
    if resource.type not in _facts()["types"]:
        return [
            Finding(
                Level.WARNING,
                "type_without_facts",
                resource.urn,
                f"{resource.type}: found no facts on this type; its inputs were not checked",
                "add the type to rungway/facts_sources.yaml and run python -m rungway.facts_refresh",
            )
        ]
    problems = _check_properties(resource.inputs, _inputs(resource.type), "")
    return [Finding(Level.ERROR, "input", resource.urn, f"{path}: {problem}") for path, problem in problems]


def _inputs(type_: str) -> dict[str, Any]:
    inputs: dict[str, Any] = _facts()["types"].get(type_, {}).get("inputs", {})
    return inputs


def _check_properties(values: dict[str, Any], properties: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if name in properties:
            yield from _check(value, properties[name], f"{path}{name}")
        else:
            near = difflib.get_close_matches(name, properties, n=1)
            advice = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(properties) or 'nothing'}"
            yield f"{path}{name}", f"found an unknown property; {advice}"
    for name, facts in properties.items():
        if facts.get("required") and values.get(name) is None:
            yield f"{path}{name}", f"found nothing; required: {_expected(facts)}"


def _check(value: Any, facts: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if value is None or value in (UNKNOWN, SECRET) or facts["type"] == "any":
        return
    if not _has_type(value, facts["type"]) or value not in facts.get("enum", [value]):
        yield path, f"found {_shown(value)}; allowed: {_expected(facts)}"
    elif "properties" in facts:
        yield from _check_properties(value, facts["properties"], f"{path}.")
    elif "values" in facts:
        for key, item in value.items():
            yield from _check(item, facts["values"], f"{path}.{key}")
    elif "items" in facts:
        for index, item in enumerate(value):
            yield from _check(item, facts["items"], f"{path}[{index}]")


def _has_type(value: Any, type_: str) -> bool:
    match type_:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)


_NAMES = {
    "string": "a string",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "array": "a list",
    "object": "an object",
    "any": "any value",
}


def _expected(facts: dict[str, Any]) -> str:
    return ", ".join(facts["enum"]) if "enum" in facts else _NAMES[facts["type"]]


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value, ensure_ascii=False)
