"""Runs a small program that builds components, and shows what the engine would be told."""

from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.arguments import ArgumentError
from rungway import facts
from rungway.model import Resource
from rungway.provider_packages import bare_provider_packages
from rungway.recorder import record

_URN_START = "urn:pulumi:mvp::rungway::"


class Built:
    """What a program registered, and its outputs."""

    def __init__(self, resources: tuple[Resource, ...], outputs: dict[str, Any]) -> None:
        self.resources = resources
        self.outputs = outputs

    @property
    def urns(self) -> list[str]:
        """What follows the project in each URN: types and name, in the order of construction."""
        return [resource.urn.removeprefix(_URN_START) for resource in self.resources]

    def __getitem__(self, key: tuple[str, str]) -> Resource:
        """The one resource of a provider whose type ends so, with this name."""
        type_end, name = key
        (found,) = [each for each in self.resources if not each.component and each.name == name and each.type.endswith(f":{type_end}")]
        return found

    def inputs(self, type_end: str, name: str) -> dict[str, Any]:
        """Inputs of that resource."""
        return self[type_end, name].inputs

    def waits_for(self, type_end: str, name: str) -> list[str]:
        """Type and name of each resource that this one depends on."""
        return [urn.removeprefix(_URN_START).rsplit("$", 1)[-1] for urn in self[type_end, name].dependencies]

    def protected(self) -> list[tuple[str, str]]:
        """Last part of the type, and name, of every protected resource."""
        return [(resource.type.rsplit(":", 1)[-1], resource.name) for resource in self.resources if resource.protect]


def build(program: Callable[[], Any]) -> Built:
    """Record the program. Each input of each resource must be one that its provider accepts. A returned dictionary is exported."""

    def exporting() -> None:
        for key, value in (program() or {}).items():
            pulumi.export(key, value)

    with bare_provider_packages():
        recording = record(exporting, project="rungway", stack="mvp", config={})
    findings = [finding for resource in recording.resources for finding in facts.check_inputs(resource)]
    assert findings == []
    return Built(recording.resources, recording.outputs)


def problems(program: Callable[[], Any]) -> list[str]:
    """What a program with wrong arguments is told, a problem a line."""

    def discarding() -> None:
        program()

    with pytest.raises(ArgumentError) as caught, bare_provider_packages():
        record(discarding, project="rungway", stack="mvp", config={})
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)
