"""Rewrites facts.json from the providers' Pulumi schemas: `python -m rungway.facts_refresh SCHEMAS...`.

SCHEMAS are folders with `hcloud.json`, `digitalocean.json`, … in the form of `pulumi package get-schema` reduced to inputs and types.
facts_sources.yaml says which resource types go in, and adds what the schemas leave out.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

SOURCES = Path(__file__).with_name("facts_sources.yaml")
FACTS = Path(__file__).with_name("facts.json")

_LARGEST_INLINE_DEPTH = 12
"""Types that nest deeper than any real input refer to themselves; from there on everything is allowed."""


def extract(*schemas: Path) -> dict[str, Any]:
    """The table of facts, as facts.json holds it.

    Raises:
        ValueError: a package without a schema, a type or property of facts_sources.yaml that the schemas do not know, or a replacement that
            the schema already says.
    """
    sources = YAML(typ="safe").load(SOURCES)
    packages = {name: _schema(name, schemas) for name in sorted({t.split(":")[0] for t in sources["types"]})}
    types = {token: _type_facts(token, packages) for token in sorted(sources["types"])}
    for replacement in sources["replacements"]:
        token = replacement["type"]
        inputs = types[token]["inputs"]
        for name in replacement["properties"]:
            if name not in inputs:
                raise ValueError(f"{token}.{name}: found in facts_sources.yaml, but the schema has no such property")
            if "replace" in inputs[name]:
                raise ValueError(f"{token}.{name}: found in facts_sources.yaml, but the schema says itself that it replaces; remove it")
            inputs[name]["replace"] = replacement.get("when", "always")
            inputs[name]["source"] = replacement["source"]
    return {
        "holds_data": sorted(sources["holds_data"]),
        "types": types,
        "versions": {name: package["version"] for name, package in packages.items()},
    }


def _schema(package: str, folders: Iterable[Path]) -> dict[str, Any]:
    found = [folder / f"{package}.json" for folder in folders if (folder / f"{package}.json").is_file()]
    if not found:
        raise ValueError(f"{package}: found in facts_sources.yaml, but no folder has {package}.json")
    schema: dict[str, Any] = json.loads(found[0].read_text())
    return schema


def render(table: dict[str, Any]) -> str:
    """JSON text with one property a line, so that a change of a provider reads as the lines that changed."""
    lines = ["{", f' "holds_data": {json.dumps(table["holds_data"], indent=2)},', ' "types": {']
    types = []
    for token, type_facts in table["types"].items():
        properties = ",\n".join(
            f"   {json.dumps(name)}: {json.dumps(value, sort_keys=True)}" for name, value in type_facts["inputs"].items()
        )
        types.append(f'  {json.dumps(token)}: {{"inputs": {{\n{properties}\n  }}}}')
    lines += [",\n".join(types), " },", f' "versions": {json.dumps(table["versions"])}', "}"]
    return "\n".join(lines) + "\n"


def _type_facts(token: str, packages: dict[str, Any]) -> dict[str, Any]:
    package = packages[token.split(":")[0]]
    resource = package["resources"].get(token)
    if resource is None:
        raise ValueError(f"{token}: found in facts_sources.yaml, but {package['name']} {package['version']} has no such type")
    return {"inputs": _properties(resource["inputs"], resource["required"], package, 0)}


def _properties(properties: dict[str, Any], required: list[str], package: dict[str, Any], depth: int) -> dict[str, Any]:
    return {name: _property(properties[name], name in required, package, depth) for name in sorted(properties)}


def _property(schema: dict[str, Any], required: bool, package: dict[str, Any], depth: int) -> dict[str, Any]:
    facts = _shape(schema, package, depth)
    if required:
        facts["required"] = True
    if schema.get("secret"):
        facts["secret"] = True
    if schema.get("willReplaceOnChanges"):
        facts["replace"] = "always"
    return facts


def _shape(schema: dict[str, Any], package: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth > _LARGEST_INLINE_DEPTH:
        return {"type": "any"}
    # A choice between a text and an enumeration of texts is open: any text is allowed.
    if "oneOf" in schema:
        return {"type": schema.get("type", "any")}
    reference = schema.get("$ref", "")
    if reference.startswith("#/types/"):
        nested = package["types"][reference.removeprefix("#/types/")]
        if "enum" in nested:
            return {"type": "string", "enum": nested["enum"]}
        return {"type": "object", "properties": _properties(nested["properties"], nested["required"], package, depth + 1)}
    if schema.get("type") == "array":
        return {"type": "array", "items": _property(schema["items"], False, package, depth + 1)}
    if schema.get("type") == "object":
        return {"type": "object", "values": _property(schema.get("additionalProperties", {}), False, package, depth + 1)}
    return {"type": schema.get("type", "any")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m rungway.facts_refresh", description="Rewrite rungway/facts.json.")
    parser.add_argument("schemas", type=Path, nargs="+", help="folder with hcloud.json, command.json, … (tests/support has some of them)")
    FACTS.write_text(render(extract(*parser.parse_args().schemas)))
