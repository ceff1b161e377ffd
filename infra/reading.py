"""Turns a stack's config into `Settings`: the only reader of stack config.

Every problem is collected before any is raised: unknown keys, wrong types, values out of bounds, and (in `infra.rules`) what does not fit
together. A value with a problem is put aside as `UNREADABLE`, so that the rules can still be asked about all others.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from hosts.addresses import AddressError, region_cidrs
from infra.problems import Problem, SettingsError, meant, nearest, printable, shown
from infra.rules import broken_rules, private_network
from infra.settings import (
    IMAGE,
    PLAIN_PATH,
    AnalyticsSettings,
    ApplicationSettings,
    BackupSettings,
    BudgetSettings,
    ConvergenceSettings,
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
from infra.stack_file import ENCRYPTED
from infra.unreadable import UNREADABLE

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
    "convergence": ConvergenceSettings,
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
_ENCRYPTED = (json.dumps(ENCRYPTED), json.dumps([ENCRYPTED]))

_USER_VALUES = (_DOMAIN, _ACCOUNT, _ZONE, _SSH_KEYS, _ADMINS)


def read_settings(config: Mapping[str, str], *, source: str, require_user_values: bool) -> tuple[Settings, list[Unset]]:
    """The settings that a stack's config describes, and what its user has still to set.

    `config` is what the engine gives a program: full keys, texts, objects and lists as JSON. Keys of other namespaces are left alone.
    `source` names the stack in errors. What is unset is filled with its placeholder, unless `require_user_values`; so is what is encrypted,
    which only the engine can read.

    Raises:
        SettingsError: anything is wrong, or unset while it is required. It lists all of it.
    """
    problems: list[Problem] = []
    raw = _raw_values(config, problems)
    unset = _unset(raw)
    if require_user_values:
        problems += [Problem(item.path, "nothing", item.description, f"run: {item.command}") for item in unset]
    for item in _USER_VALUES:
        key = item.path.removeprefix(NAMESPACE)
        if item in unset or json.dumps(raw.get(key), default=repr) in _ENCRYPTED:
            raw[key] = _parsed(item.placeholder)
    settings = _settings(raw, problems)
    problems += broken_rules(settings)
    if problems:
        raise SettingsError(source, [_where_it_is_said(problem, raw) for problem in problems])
    return settings, unset


def _raw_values(config: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    """Each top-level key's value, parsed; empty ones left out, for they stand for the default."""
    raw: dict[str, Any] = {}
    for full, text in sorted(config.items()):
        if not full.startswith(NAMESPACE):
            continue
        key = full.removeprefix(NAMESPACE)
        if key not in KEYS:
            problems.append(Problem(printable(full), "an unknown key", ", ".join(sorted(KEYS)), meant(key, KEYS)))
            if (near := nearest(key, KEYS)) and not _is_given(config.get(f"{NAMESPACE}{near}")):
                raw.setdefault(near, UNREADABLE)
            continue
        value = text if key in TEXTS else _parsed(text)
        kind: type = str if key in TEXTS else list if key in LISTS else dict
        if not _is_given(value):
            continue
        if isinstance(value, kind):
            raw[key] = value
        else:
            raw[key] = UNREADABLE
            problems.append(Problem(full, shown(value), "a list" if kind is list else "a group of keys"))
    return raw


def _is_given(value: Any) -> bool:
    """Whether a value says anything: an empty one stands for the default."""
    return value is UNREADABLE or value not in (None, "", [], {}, "[]", "{}")


def _parsed(text: str) -> Any:
    """A list or a group from its JSON; any other text as it is."""
    try:
        value = json.loads(text) if text[:1] in ("[", "{") else text
    except (ValueError, RecursionError):
        return text
    return text if _is_deeper(value, _DEEPEST) else value


_DEEPEST = 10
"""Groups within groups that a value may have; the settings need five."""


def _is_deeper(value: Any, levels: int) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deeper(item, levels - 1) for item in items)


def _unset(raw: Mapping[str, Any]) -> list[Unset]:
    edge = raw.get("edge", {})
    fronted = not isinstance(edge, dict) or edge.get("enabled", True) is not False
    missing = [item for item in (_DOMAIN, _ACCOUNT, _ZONE) if fronted and item.path.removeprefix(NAMESPACE) not in raw]
    if not _has_servers(raw):
        return missing
    if "ssh_public_keys" not in raw and "existing_ssh_keys" not in raw:
        missing.append(_SSH_KEYS)
    if "admin_cidrs" not in raw:
        missing.append(_ADMINS)
    return missing


def _has_servers(raw: Mapping[str, Any]) -> bool:
    """Whether any region might have a server: without one nobody needs a key or an administrators' network."""
    regions = raw.get("regions", [])
    places = [raw, *(region for region in (regions if isinstance(regions, list) else []) if isinstance(region, dict))]
    counts = [place.get(section, {}) for place in places for section in REGION_SECTIONS]
    return any(isinstance(section, dict) and any(section.get(key) for key in ("servers", "nodes", "enabled")) for section in counts)


def _settings(raw: dict[str, Any], problems: list[Problem]) -> Settings:
    """The settings, with `UNREADABLE` for whatever was told as a problem."""
    values: dict[str, Any] = {key: raw.get(key, default) for key, default in TEXTS.items() if key != "provider"}
    values |= {key: raw.get(key, []) for key in LISTS if key != "regions"}
    values = {key: _field(Settings, key, value, f"{NAMESPACE}{key}", problems) for key, value in values.items()}
    for key, model in STACK_SECTIONS.items():
        values[key] = _section(model, raw.get(key, {}), f"{NAMESPACE}{key}", problems)
    shared = {key: raw.get(key, {}) for key in REGION_SECTIONS}
    for key, model in REGION_SECTIONS.items():
        _section(model, shared[key], f"{NAMESPACE}{key}", problems)
    provider = _field(Region, "provider", raw.get("provider", TEXTS["provider"]), f"{NAMESPACE}provider", problems)
    if "regions" not in raw:
        problems.append(Problem(f"{NAMESPACE}regions", "no region", "a list of at least one region with name and location"))
    listed = raw.get("regions", UNREADABLE)
    values["regions"] = listed if listed is UNREADABLE else tuple(_regions(listed, shared, provider, values["network"], problems))
    return Settings.model_construct(**values)


def _regions(listed: list[Any], shared: Mapping[str, Any], provider: Any, network: Any, problems: list[Problem]) -> Iterator[Any]:
    """The regions, each with its sections resolved: a region's own keys over the shared ones."""
    for index, region in enumerate(listed):
        path = f"{NAMESPACE}regions[{index}]"
        if not isinstance(region, dict):
            allowed = "a group of keys: name, location, and where they differ provider, cidr and sections"
            problems.append(Problem(path, shown(region), allowed))
            yield UNREADABLE
            continue
        given = {key: value for key, value in region.items() if _is_given(value)}
        values: dict[str, Any] = {}
        for key, model in REGION_SECTIONS.items():
            values[key] = _section(model, _merged(shared[key], given.pop(key, {})), f"{path}.{key}", problems)
        values["provider"] = _field(Region, "provider", given.pop("provider", provider), f"{path}.provider", problems)
        cidr = given.pop("cidr") if "cidr" in given else _nth_cidr(network, index, path, problems)
        values["cidr"] = _field(Region, "cidr", cidr, f"{path}.cidr", problems)
        for key in ("name", "location"):
            if key in given:
                values[key] = _field(Region, key, given.pop(key), f"{path}.{key}", problems)
            else:
                values[key] = UNREADABLE
                problems.append(Problem(f"{path}.{key}", "nothing", "a value; it is required"))
        problems += [_unknown(f"{path}.{key}", key, Region) for key in given]
        yield Region.model_construct(**values)


def _nth_cidr(network: Any, index: int, path: str, problems: list[Problem]) -> Any:
    """The /16 that a region gets when it names no addresses; `UNREADABLE` while the network has a problem of its own."""
    cidr = UNREADABLE if network is UNREADABLE else network.cidr
    if cidr is UNREADABLE or private_network(cidr) is None:
        return UNREADABLE
    try:
        return region_cidrs(cidr, index + 1)[index]
    except AddressError:
        allowed = f"a /20 or larger inside rungway:network.cidr ({cidr})"
        problems.append(Problem(f"{path}.cidr", "nothing", allowed, "set it, or take a larger network"))
        return UNREADABLE


def _merged(shared: Any, override: Any) -> Any:
    """`override` over `shared`, group by group; lists and values are taken whole."""
    if override is UNREADABLE or not _is_given(override):
        return shared
    if isinstance(shared, dict) and isinstance(override, dict):
        return {**shared, **{key: _merged_key(shared, key, value) for key, value in override.items()}}
    return override


def _merged_key(shared: Mapping[str, Any], key: str, value: Any) -> Any:
    both_groups = isinstance(shared.get(key), dict) and isinstance(value, dict)
    return _merged(shared[key], value) if both_groups else value


_IN_A_REGION = re.compile(rf"{NAMESPACE}regions\[(\d+)\]\.({'|'.join(REGION_SECTIONS)})(.*)")


def _where_it_is_said(problem: Problem, raw: Mapping[str, Any]) -> Problem:
    """The problem at the place where a person wrote the value: in the region's own keys, or in the section that all regions share."""
    found = _IN_A_REGION.fullmatch(problem.path)
    if found is None:
        return problem
    override = raw["regions"][int(found[1])].get(found[2], {})
    return problem if _is_in(found[3], override) else replace(problem, path=f"{NAMESPACE}{found[2]}{found[3]}")


def _is_in(path: str, override: Any) -> bool:
    """Whether what `path` leads to is written in the region's own keys."""
    if not _is_given(override):
        return False
    for key in re.findall(r"[^.\[]+", path):
        if not isinstance(override, dict):
            return True
        if key not in override:
            return False
        override = override[key]
    return True


def _section(model: type[Section], values: Any, path: str, problems: list[Problem]) -> Any:
    """The section, with `UNREADABLE` for each value that has a problem."""
    if values is UNREADABLE:
        return UNREADABLE
    if not isinstance(values, dict):
        problems.append(Problem(path, shown(values), "a group of keys"))
        return UNREADABLE
    try:
        return model.model_validate(_tuples(values))
    except ValidationError:
        return _salvaged(model, values, path, problems)


def _salvaged(model: type[Section], values: Mapping[str, Any], path: str, problems: list[Problem]) -> Section:
    """What can be read of a section that has problems, key by key."""
    fields: dict[str, Any] = {}
    for key in values:
        if key not in model.model_fields:
            problems.append(_unknown(f"{path}.{printable(key)}", key, model))
            if near := nearest(key, model.model_fields):
                # What was meant is not the default, so no rule may take it for that.
                fields[near] = UNREADABLE
    for key, field in model.model_fields.items():
        where, inner = f"{path}.{key}", section_of(field)
        if key not in values:
            if field.is_required() and key not in fields:
                problems.append(Problem(where, "nothing", "a value; it is required"))
                fields[key] = UNREADABLE
        elif inner is None:
            fields[key] = _field(model, key, values[key], where, problems)
        elif not _is_list(field):
            fields[key] = _section(inner, values[key], where, problems)
        elif isinstance(values[key], list):
            fields[key] = tuple(_section(inner, item, f"{where}[{index}]", problems) for index, item in enumerate(values[key]))
        else:
            problems.append(Problem(where, shown(values[key]), "a list"))
            fields[key] = UNREADABLE
    return model.model_construct(**fields)


def _field(model: type[Section], key: str, value: Any, path: str, problems: list[Problem]) -> Any:
    """One value of a section, checked on its own; `UNREADABLE` when it has a problem."""
    if value is UNREADABLE:
        return UNREADABLE
    field = model.model_fields[key]
    kind: TypeAdapter[Any] = TypeAdapter(cast("Any", Annotated[field.annotation, field]), config=Section.model_config)
    try:
        return kind.validate_python(_tuples(value))
    except ValidationError as error:
        problems += [_problem(item, path, field) for item in error.errors(include_url=False)]
        return UNREADABLE


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a field holds one or several of."""
    candidates = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Section)), None)


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _tuples(value: Any) -> Any:
    """Lists as tuples, for settings can't change after they were read."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "string_unicode": "a text in Unicode",
    "bool_type": "true or false",
    "tuple_type": "a list",
}

_PATTERNS = {
    r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$": "1 to 32 lower-case letters, digits and hyphens, first a letter, last no hyphen",
    PLAIN_PATH: "a path that starts with / and has only letters, digits and . _ ~ - between further /",
    IMAGE: "a container image with its tag or digest, for example ghcr.io/acme/shop:1.4.2, or nothing",
    r"^([~/].*)?$": "a path that starts with / or ~",
}


def _problem(item: Any, path: str, field: FieldInfo) -> Problem:
    """What the model found wrong with a value, in words."""
    where = path + "".join(f"[{part}]" for part in item["loc"])
    kind, found = item["type"], shown(item["input"])
    if kind == "literal_error":
        choices = [str(choice) for choice in _choices(field)]
        near = meant(item["input"], choices) if isinstance(item["input"], str) else ""
        return Problem(where, found, ", ".join(choice or "''" for choice in choices), near)
    if kind == "string_pattern_mismatch":
        return Problem(where, found, _PATTERNS[item["ctx"]["pattern"]])
    if kind in ("greater_than_equal", "less_than_equal"):
        return Problem(where, found, _bounds(field))
    return Problem(where, found, _KINDS[kind])


def _choices(field: FieldInfo) -> tuple[Any, ...]:
    """The values that a field of fixed choices, or a list of them, allows."""
    inner = next((kind for kind in get_args(field.annotation) if get_origin(kind) is Literal), field.annotation)
    return get_args(inner)


def _bounds(field: FieldInfo) -> str:
    least = next((item.ge for item in field.metadata if isinstance(item, Ge)), None)
    most = next((item.le for item in field.metadata if isinstance(item, Le)), None)
    return f"{least} or more" if most is None else f"{least} to {most}"


def _unknown(path: str, key: str, model: type[Section]) -> Problem:
    return Problem(path, "an unknown key", ", ".join(model.model_fields), meant(key, model.model_fields))
