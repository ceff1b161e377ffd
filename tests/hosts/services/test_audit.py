"""The audit log: both kinds of system calls, and no failed unit in a container."""

import pytest

from hosts.services.audit import WATCHED, audit
from tests.support.minimal_host import minimal_host


def _rules(architecture: str) -> list[str]:
    file = next(file for file in audit(minimal_host(architecture=architecture)).files if file.path.endswith(".rules"))
    return [line for line in file.content.splitlines() if line.startswith("-a")]


@pytest.mark.parametrize(("architecture", "kinds"), [("x86", {"b64", "b32"}), ("arm", {"b64"})])
def test_every_rule_is_there_for_every_kind_of_system_call(architecture: str, kinds: set[str]) -> None:
    rules = _rules(architecture)
    by_kind = {kind: [rule.replace(f"arch={kind}", "") for rule in rules if f"arch={kind}" in rule] for kind in ("b64", "b32")}
    assert {kind for kind, found in by_kind.items() if found} == kinds
    assert all(by_kind[kind] == by_kind["b64"] for kind in kinds)
    assert len(by_kind["b64"]) == sum(map(len, WATCHED.values())) + 3


def test_directories_are_watched_as_such() -> None:
    rules = _rules("arm")
    assert "-a always,exit -F arch=b64 -F path=/etc/shadow -F perm=wa -F key=identity" in rules
    assert "-a always,exit -F arch=b64 -F dir=/etc/ssh -F perm=wa -F key=ssh" in rules


def test_a_container_starts_neither_unit() -> None:
    drop_ins = [file for file in audit(minimal_host()).files if file.path.endswith(".service.d/10-rungway.conf")]
    assert {file.path.split("/")[4] for file in drop_ins} == {"auditd.service.d", "audit-rules.service.d"}
    assert all("ConditionVirtualization=!container\n" in file.content for file in drop_ins)


def test_a_full_disk_costs_old_records_and_not_the_server() -> None:
    settings = dict(line.split(" = ") for line in audit(minimal_host()).files[0].content.splitlines() if not line.startswith("#"))
    actions = {key: value for key, value in settings.items() if key.endswith("_action")}
    assert set(actions.values()) == {"ROTATE", "SYSLOG"}
