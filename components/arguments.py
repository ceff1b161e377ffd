"""Reads the arguments of a component: what decides its structure must be known at plan time, and every mistake is named at once.

Components take TypedDicts, which nothing checks at run time: other Pulumi languages, or a Python program without a type checker, can pass
anything. Each component therefore reads its arguments through one `Arguments`, and ends the reading with `check()`.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pulumi

PROVIDERS = ("digitalocean", "hetzner")


class ArgumentError(pulumi.RunError):
    """Arguments that a component can't be built from: every problem, each with its path, what was found and what is allowed."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class Arguments:
    """The arguments of one component, read one by one; problems are collected until `check()`."""

    def __init__(self, component: str, name: str, args: Mapping[str, Any], declared: type) -> None:
        """`component` is the class's name, `name` the resource's, `declared` the TypedDict whose keys are allowed and required."""
        self._label = f"{name} ({component})"
        self._args = args
        self._problems: list[str] = []
        self._check_keys("", args, declared)

    def problem(self, path: str, found: object, allowed: str) -> None:
        """Note that the argument at `path` is wrong."""
        self._problems.append(f"{self._label}: {path}: found {_shown(found)}; allowed: {allowed}")

    def items(self, key: str, declared: type, plain: Mapping[str, type] | None = None) -> list[Mapping[str, Any]]:
        """A list of dictionaries, each with the keys that `declared` has.

        `plain` names the keys that must be known before deployment, with their types; a wrong one is left out of the dictionary.
        """
        items: list[Mapping[str, Any]] = []
        for index, item in enumerate(self.plain(key, list, [])):
            path = f"{key}[{index}]"
            if not self.check_keys(path, item, declared):
                continue
            known = {inner: self._plain(f"{path}.{inner}", item.get(inner), kind, None) for inner, kind in (plain or {}).items()}
            items.append({inner: value for inner, value in {**item, **known}.items() if value is not None})
        return items

    def check_keys(self, path: str, item: object, declared: type) -> bool:
        """Whether the argument at `path` is a dictionary; its keys must be those that `declared` has."""
        if not isinstance(item, Mapping):
            self.problem(path, item, "a dictionary")
            return False
        self._check_keys(f"{path}.", item, declared)
        return True

    def plain(self, key: str, kind: type, default: Any = None) -> Any:
        """An argument that must be known before deployment, of the type `kind`; `default` where it is absent or wrong."""
        return self._plain(key, self._args.get(key), kind, default)

    def choice(self, key: str, allowed: Collection[str], default: str | None = None) -> str:
        """A text that must be one of `allowed`; where there is a default, an empty text means that too."""
        value = self.plain(key, str, default)
        if value == "" and default is not None:
            value = default
        if value not in (None, default) and value not in allowed:
            self.problem(key, value, ", ".join(sorted(allowed)))
        return str(value)

    def number(self, key: str, least: int, most: int, default: int) -> int:
        """A whole number within bounds."""
        value: int = self.plain(key, int, default)
        if not least <= value <= most:
            self.problem(key, value, f"{least} to {most}")
        return value

    def provider(self) -> str:
        """The `provider` argument."""
        return self.choice("provider", PROVIDERS)

    def check(self) -> None:
        """Raise ArgumentError when there was any problem."""
        if self._problems:
            raise ArgumentError(self._problems)

    def _plain(self, path: str, value: object, kind: type, default: Any) -> Any:
        if value is None:
            return default
        if isinstance(value, pulumi.Output):
            self._problems.append(f"{self._label}: {path}: must be known before deployment; found an Output")
            return default
        # Numbers from other languages arrive as floats; a bool is an int to Python, but not to a person.
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.problem(path, value, _KINDS[kind])
            return default
        return value

    def _check_keys(self, path: str, args: Mapping[str, Any], declared: type) -> None:
        known = set(declared.__required_keys__) | set(declared.__optional_keys__)  # type: ignore[attr-defined]
        for key in args:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                meant = f"; did you mean '{near[0]}'?" if near else ""
                self._problems.append(f"{self._label}: {path}{key}: found an unknown argument; allowed: {', '.join(sorted(known))}{meant}")
        for key in sorted(declared.__required_keys__):  # type: ignore[attr-defined]
            if args.get(key) is None:
                self._problems.append(f"{self._label}: {path}{key}: found nothing; it is required")


_KINDS = {str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "a dictionary"}


def _shown(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else repr(value)
