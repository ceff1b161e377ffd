"""Turns a stack's config into `Settings`: the only reader of stack config.

Every problem is collected before any is raised: unknown keys, wrong types, values out of bounds, and (in `infra.rules`) what does not fit
together.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hosts.addresses import AddressError, region_cidrs
from infra.problems import Problem, SettingsError, meant, shown
from infra.rules import broken_rules
from infra.settings import (
    AnalyticsSettings,
    ApplicationSettings,
    BackupSettings,
    BudgetSettings,
    DatabaseSettings,
    EdgeSettings,
    KubernetesSettings,
    LoadBalancerSettings,
    MonitoringSettings,
    NetworkSettings,
    RedisSettings,
    Region,
    Section,
    ServerlessSettings,
    Settings,
    TargetSettings,
)

NAMESPACE = "rungway:"

REGION_SECTIONS: dict[str, type[Section]] = {
    "app": ApplicationSettings,
    "database": DatabaseSettings,
    "redis": RedisSettings,
    "monitoring": MonitoringSettings,
    "load_balancer": LoadBalancerSettings,
    "kubernetes": KubernetesSettings,
}
"""Sections that hold in every region, and that a region may override."""

STACK_SECTIONS: dict[str, type[Section]] = {
    "network": NetworkSettings,
    "edge": EdgeSettings,
    "backup": BackupSettings,
    "serverless": ServerlessSettings,
    "analytics": AnalyticsSettings,
    "budget": BudgetSettings,
    "targets": TargetSettings,
}
"""Sections of the stack as a whole."""

TEXTS = {
    "name": "rungway",
    "architecture": "x86",
    "provider": "hetzner",
    "domain": "",
    "cloudflare_account_id": "",
    "cloudflare_zone_id": "",
}
"""Keys with a text, and what holds when it is empty."""

LISTS = ("regions", "ssh_public_keys", "existing_ssh_keys", "admin_cidrs")

KEYS = (*TEXTS, *LISTS, *REGION_SECTIONS, *STACK_SECTIONS)
"""Every top-level key, as `rungway:<key>`."""


@dataclass(frozen=True)
class Unset:
    """What only the stack's user knows and has not said yet: a placeholder for plans (config text), and the command that sets it."""

    path: str
    description: str
    placeholder: str
    command: str


_DOMAIN = Unset(
    "rungway:domain", "the domain of the application, a zone at Cloudflare", "example.com", "pulumi config set rungway:domain example.com"
)
_ACCOUNT = Unset(
    "rungway:cloudflare_account_id",
    "the Cloudflare account's id (dashboard, Account home)",
    "0" * 32,
    "pulumi config set rungway:cloudflare_account_id <32 hexadecimal digits>",
)
_ZONE = Unset(
    "rungway:cloudflare_zone_id",
    "the domain's zone id at Cloudflare (dashboard, the domain's Overview)",
    "0" * 32,
    "pulumi config set rungway:cloudflare_zone_id <32 hexadecimal digits>",
)
_SSH_KEYS = Unset(
    "rungway:ssh_public_keys",
    "the administrators' SSH public keys",
    '["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA placeholder"]',
    "pulumi config set --path 'rungway:ssh_public_keys[0]' \"$(cat ~/.ssh/id_ed25519.pub)\"",
)
_ADMINS = Unset(
    "rungway:admin_cidrs",
    "the networks from which administrators reach the servers",
    '["192.0.2.1/32"]',
    "pulumi config set --path 'rungway:admin_cidrs[0]' 198.51.100.7/32",
)


def read_settings(config: Mapping[str, str], *, source: str, require_user_values: bool) -> tuple[Settings, list[Unset]]:
    """The settings that a stack's config describes, and what its user has still to set.

    `config` is what the engine gives a program: full keys, texts, objects and lists as JSON. Keys of other namespaces are left alone.
    `source` names the stack in errors. What is unset is filled with its placeholder, unless `require_user_values`.

    Raises:
        SettingsError: anything is wrong, or unset while it is required. It lists all of it.
    """
    problems: list[Problem] = []
    raw = _raw_values(config, problems)
    unset = _unset(raw)
    if require_user_values:
        problems += [Problem(item.path, "nothing", item.description, f"run: {item.command}") for item in unset]
    raw |= {item.path.removeprefix(NAMESPACE): _parsed(item.placeholder) for item in unset}
    settings = _settings(raw, problems)
    if settings is not None:
        problems += broken_rules(settings)
    if problems or settings is None:
        raise SettingsError(source, problems)
    return settings, unset


def _raw_values(config: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    """Each top-level key's value, parsed; empty ones left out, for they stand for the default."""
    raw: dict[str, Any] = {}
    for full, text in sorted(config.items()):
        if not full.startswith(NAMESPACE):
            continue
        key = full.removeprefix(NAMESPACE)
        if key not in KEYS:
            problems.append(Problem(full, "an unknown key", ", ".join(sorted(KEYS)), meant(key, KEYS)))
            continue
        value = text if key in TEXTS else _parsed(text)
        kind: type = str if key in TEXTS else list if key in LISTS else dict
        if value in ("", [], {}, None):
            continue
        if isinstance(value, kind):
            raw[key] = value
        else:
            problems.append(Problem(full, shown(value), "a list" if kind is list else "a group of keys"))
    return raw


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if text[:1] in ("[", "{") else text
    except ValueError:
        return text


def _unset(raw: Mapping[str, Any]) -> list[Unset]:
    edge = raw.get("edge", {})
    fronted = not isinstance(edge, dict) or edge.get("enabled", True) is not False
    missing = [item for item in (_DOMAIN, _ACCOUNT, _ZONE) if fronted and item.path.removeprefix(NAMESPACE) not in raw]
    if "ssh_public_keys" not in raw and "existing_ssh_keys" not in raw:
        missing.append(_SSH_KEYS)
    if "admin_cidrs" not in raw:
        missing.append(_ADMINS)
    return missing if _has_servers(raw) else [item for item in missing if item not in (_SSH_KEYS, _ADMINS)]


def _has_servers(raw: Mapping[str, Any]) -> bool:
    """Whether any region might have a server: without one nobody needs a key or an administrators' network."""
    places = [raw, *(region for region in raw.get("regions", []) if isinstance(region, dict))]
    counts = [place.get(section, {}) for place in places for section in REGION_SECTIONS]
    return any(isinstance(section, dict) and any(section.get(key) for key in ("servers", "nodes", "enabled")) for section in counts)


def _settings(raw: dict[str, Any], problems: list[Problem]) -> Settings | None:
    before = len(problems)
    values: dict[str, Any] = {key: raw.get(key, default) for key, default in TEXTS.items() if key != "provider"}
    values |= {key: tuple(raw.get(key, ())) for key in LISTS if key != "regions"}
    for key, model in STACK_SECTIONS.items():
        values[key] = _validated(model, raw.get(key, {}), f"{NAMESPACE}{key}", problems)
    shared = {key: raw.get(key, {}) for key in REGION_SECTIONS}
    for key, model in REGION_SECTIONS.items():
        _validated(model, shared[key], f"{NAMESPACE}{key}", problems)
    if "regions" not in raw:
        problems.append(Problem(f"{NAMESPACE}regions", "no region", "a list of at least one region with name and location"))
    values["regions"] = tuple(_regions(raw, shared, values["network"], problems))
    if len(problems) > before:
        # Texts are still to be checked, so that one run names everything; the sections then stand for themselves.
        _text_problems(values, problems)
        return None
    try:
        return Settings(**values)
    except ValidationError as error:
        problems += _problems_of(error, NAMESPACE.rstrip(":"), ":")
        return None


def _text_problems(values: Mapping[str, Any], problems: list[Problem]) -> None:
    try:
        Settings.model_validate({**values, "regions": (), **{key: model() for key, model in STACK_SECTIONS.items()}})
    except ValidationError as error:
        problems += _problems_of(error, NAMESPACE.rstrip(":"), ":")


def _regions(raw: Mapping[str, Any], shared: Mapping[str, Any], network: Any, problems: list[Problem]) -> list[Region]:
    """The regions, each with its sections resolved: a region's own keys over the shared ones."""
    found: list[Region] = []
    listed = raw.get("regions", [])
    for index, region in enumerate(listed):
        path = f"{NAMESPACE}regions[{index}]"
        if not isinstance(region, dict):
            problems.append(
                Problem(path, shown(region), "a group of keys: name, location, and where they differ provider, cidr and sections")
            )
            continue
        sections: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, model in REGION_SECTIONS.items():
            override = region.get(key, {})
            before = len(problems)
            sections[key] = _validated(model, _merged(shared[key], override), f"{path}.{key}", problems)
            # A mistake in the shared section was told at its own place already.
            problems[before:] = [item for item in problems[before:] if _is_in(item.path.removeprefix(f"{path}.{key}"), override)]
        own["cidr"] = region.get("cidr") or _nth_cidr(network, index, len(listed), path, problems)
        values = {"provider": raw.get("provider", TEXTS["provider"]), **region, **own, **sections}
        if all(section is not None for section in sections.values()):
            built = _validated(Region, values, path, problems)
            found += [built] if isinstance(built, Region) else []
        else:
            unknown = [key for key in region if key not in Region.model_fields]
            problems += [_unknown(f"{path}.{key}", key, Region) for key in unknown]
    return found


def _nth_cidr(network: Any, index: int, count: int, path: str, problems: list[Problem]) -> str:
    if not isinstance(network, NetworkSettings):
        return ""
    try:
        return region_cidrs(network.cidr, count)[index]
    except (AddressError, ValueError):
        problems.append(
            Problem(
                f"{path}.cidr",
                "nothing",
                f"a /20 or larger inside rungway:network.cidr ({network.cidr})",
                "say it, or take a larger network",
            )
        )
        return ""


def _merged(shared: Any, override: Any) -> Any:
    """`override` over `shared`, group by group; lists and values are taken whole."""
    if isinstance(shared, dict) and isinstance(override, dict):
        return {**shared, **{key: _merged(shared.get(key), value) for key, value in override.items()}}
    return override


def _is_in(path: str, override: Any) -> bool:
    """Whether what `path` leads to is written in the region's own keys."""
    for key in path.replace("[", ".[").split("."):
        if not key:
            continue
        if isinstance(override, list):
            return True
        if not isinstance(override, dict) or key not in override:
            return not isinstance(override, dict)
        override = override[key]
    return True


def _validated(model: type[Section], values: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(values, dict):
        problems.append(Problem(path, shown(values), "a group of keys"))
        return None
    try:
        return model.model_validate(_tuples(values))
    except ValidationError as error:
        problems += _problems_of(error, path, ".", model)
        return None


def _tuples(value: Any) -> Any:
    """Lists as tuples, for settings can't change after they were read."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a group of keys",
    "model_attributes_type": "a group of keys",
    "finite_number": "a finite number",
}

_PATTERNS = {
    r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$": "1 to 32 lower-case letters, digits and hyphens, first a letter, last no hyphen",
    r"^/": "a path that starts with /",
}


def _problems_of(error: ValidationError, path: str, separator: str, model: type[Section] = Settings) -> list[Problem]:
    problems = []
    for item in error.errors(include_url=False):
        where = path
        for part in item["loc"]:
            where += f"[{part}]" if isinstance(part, int) else f"{separator if where == path else '.'}{part}"
        kind, context, found = item["type"], item.get("ctx", {}), shown(item["input"])
        if kind == "missing":
            problems.append(Problem(where, "nothing", "a value; it is required"))
        elif kind == "extra_forbidden":
            problems.append(_unknown(where, str(item["loc"][-1]), _model_at(model, item["loc"][:-1])))
        elif kind == "literal_error":
            problems.append(
                Problem(where, found, str(context["expected"]).replace("'", "").replace(" or ", ", "), _near(item["input"], context))
            )
        elif kind == "string_pattern_mismatch":
            problems.append(Problem(where, found, _PATTERNS[context["pattern"]]))
        elif kind in ("greater_than_equal", "less_than_equal"):
            bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
            problems.append(Problem(where, found, bound))
        else:
            problems.append(Problem(where, found, _KINDS.get(kind, item["msg"])))
    return problems


def _near(value: Any, context: Mapping[str, Any]) -> str:
    allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
    # YAML reads 1.2 as a number.
    return f'write it in quotes: "{value}"' if str(value) in allowed else meant(str(value), allowed)


def _unknown(path: str, key: str, model: type[Section]) -> Problem:
    return Problem(path, "an unknown key", ", ".join(model.model_fields), meant(key, model.model_fields))


def _model_at(model: type[Section], location: tuple[int | str, ...]) -> type[Section]:
    """The section that a location in `model` leads to."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            candidates = [annotation, *getattr(annotation, "__args__", ())]
            model = next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Section)), model)
    return model
