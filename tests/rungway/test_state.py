"""An exported state read as a plan, and compared with one."""

import json
from pathlib import Path
from typing import Any

import pytest

from rungway.diff import diff, exit_code
from rungway.errors import RungwayError
from rungway.model import SECRET, UNKNOWN, Action, Plan, Resource
from rungway.state import plan_from_state

SERVER = "hcloud:index/server:Server"
VOLUME = "hcloud:index/volume:Volume"
SERVER_NETWORK = "hcloud:index/serverNetwork:ServerNetwork"
STACK = "pulumi:pulumi:Stack"
PROVIDER = "urn:pulumi:mvp::rungway::pulumi:providers:hcloud::default_1_43_3::0f0b1a44-4b0c-4f6f-9b35-2f6d2f4d2f11"
SECRET_INPUT = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:JQ8w4eO0mS1b:c2VjcmV0"}


def urn(type_: str, name: str, stack: str = "mvp") -> str:
    return f"urn:pulumi:{stack}::rungway::{type_}::{name}"


def entry(type_: str, name: str, inputs: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A resource as `pulumi stack export` writes it."""
    custom = type_ != STACK and not type_.startswith("rungway:")
    known = {"id": "4711", "inputs": inputs or {}, "outputs": {"status": "running"}, "provider": PROVIDER} if custom else {}
    return {
        "urn": urn(type_, name),
        "custom": custom,
        "type": type_,
        "created": "2026-10-01T08:00:00Z",
        "modified": "2026-10-01T08:00:00Z",
        **known,
        **({"parent": urn(STACK, "rungway-mvp")} if type_ != STACK else {}),
        **more,
    }


def exported(*resources: Any, version: Any = 3) -> dict[str, Any]:
    return {
        "version": version,
        "deployment": {
            "manifest": {"time": "2026-10-01T08:00:00Z", "magic": "", "version": "v3.272.0"},
            "secrets_providers": {"type": "passphrase", "state": {"salt": "v1:abc"}},
            "resources": list(resources),
            "metadata": {},
        },
    }


def read(tmp_path: Path, document: Any) -> Plan:
    path = tmp_path / "state.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return plan_from_state(path)


def example() -> list[dict[str, Any]]:
    return [
        entry(STACK, "rungway-mvp"),
        entry("pulumi:providers:hcloud", "default_1_43_3", {"version": "1.43.3"}),
        entry(
            SERVER,
            "app-eu-1",
            {
                "__defaults": ["name"],
                "name": "app-eu-1-5f2e1c0",
                "serverType": "cx33",
                "location": "nbg1",
                "userData": SECRET_INPUT,
                "publicNets": [{"__defaults": ["ipv6Enabled"], "ipv4Enabled": True, "ipv6Enabled": True}],
            },
            protect=False,
        ),
        entry(VOLUME, "app-eu-1-data", {"__defaults": [], "size": 40, "location": "nbg1"}, protect=True, retainOnDelete=True),
        entry(
            SERVER_NETWORK,
            "app-eu-1-private",
            {"__defaults": [], "serverId": 4711, "ip": "10.0.1.1"},
            dependencies=[urn(SERVER, "app-eu-1")],
            propertyDependencies={"serverId": [urn(SERVER, "app-eu-1")], "ip": []},
        ),
    ]


def test_a_state_reads_as_the_plan_that_made_it(tmp_path: Path) -> None:
    plan = read(tmp_path, exported(*example()))
    assert (plan.stack, plan.pulumi_stack, plan.project, plan.source) == (str(tmp_path / "state.json"), "mvp", "rungway", "state")
    root, server, volume, link = plan.resources
    assert (root.type, root.component, root.parent) == (STACK, True, None)
    # Without what the provider filled in, at any depth, and without the secret.
    assert server == Resource(
        urn(SERVER, "app-eu-1"),
        SERVER,
        "app-eu-1",
        root.urn,
        False,
        {"location": "nbg1", "publicNets": [{"ipv4Enabled": True}], "serverType": "cx33", "userData": SECRET},
    )
    assert (volume.protect, volume.retain_on_delete) == (True, True)
    assert link.dependencies == (server.urn,)
    assert plan.monthly_cost is None


def test_a_secret_that_was_exported_in_plain_text_is_masked_too(tmp_path: Path) -> None:
    shown = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": '"hunter2"'}
    plan = read(tmp_path, exported(entry(SERVER, "app", {"userData": shown, "labels": {"a": shown}})))
    assert plan.resources[0].inputs == {"labels": {"a": SECRET}, "userData": SECRET}
    assert "hunter2" not in repr(plan)


def test_what_is_being_deleted_or_was_only_read_is_left_out(tmp_path: Path) -> None:
    plan = read(
        tmp_path,
        exported(entry(VOLUME, "old", delete=True), entry(VOLUME, "seen", external=True), entry(VOLUME, "data")),
    )
    assert [resource.name for resource in plan.resources] == ["data"]


def _planned(location: str = "nbg1", stack: str = "phase2") -> Plan:
    server = Resource(
        urn(SERVER, "app-eu-1", stack),
        SERVER,
        "app-eu-1",
        None,
        False,
        {"location": location, "publicNets": [{"ipv4Enabled": True}], "serverType": "cx33", "userData": SECRET},
    )
    volume = Resource(
        urn(VOLUME, "app-eu-1-data", stack), VOLUME, "app-eu-1-data", None, False, {"size": 40, "location": location}, protect=True
    )
    link = Resource(
        urn(SERVER_NETWORK, "app-eu-1-private", stack),
        SERVER_NETWORK,
        "app-eu-1-private",
        None,
        False,
        {"serverId": UNKNOWN, "ip": "10.0.1.1"},
        dependencies=(server.urn,),
    )
    root = Resource(urn(STACK, f"rungway-{stack}", stack), STACK, f"rungway-{stack}", None, True, {})
    return Plan(stack, stack, "rungway", (root, server, volume, link))


def test_a_state_and_the_plan_that_made_it_are_the_same(tmp_path: Path) -> None:
    result = diff(read(tmp_path, exported(*example())), _planned())
    assert {change.name: change.action for change in result.changes} == {
        "rungway-phase2": Action.SAME,
        "app-eu-1": Action.SAME,
        "app-eu-1-data": Action.SAME,
        "app-eu-1-private": Action.SAME,
    }
    assert exit_code(result) == 0


def test_what_a_plan_would_do_to_running_data_is_seen(tmp_path: Path) -> None:
    result = diff(read(tmp_path, exported(*example())), _planned("fsn1"))
    assert {change.name: change.action for change in result.changes if change.action is not Action.SAME} == {
        "app-eu-1": Action.REPLACE,
        "app-eu-1-data": Action.REPLACE,
        "app-eu-1-private": Action.REPLACE,
    }
    assert exit_code(result) == 3


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("", "not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"version": 3, "deploy', "not valid JSON: Unterminated string starting at: line 1 column 16 (char 15)"),
        ("[" * 100_000, "not valid JSON: it is nested too deeply"),
        ("[]", "found a list; allowed: an object"),
        ({"version": 3, "checkpoint": {"stack": "mvp"}}, "found a backend's own checkpoint; allowed: an exported state"),
        ({"version": 2, "deployment": {}}, "version: found 2; allowed: 3, 4"),
        ({"deployment": {}}, "version: found null; allowed: 3, 4"),
        ({"version": 3, "deployment": "encrypted"}, 'deployment: found "encrypted"; allowed: an object'),
        ({"version": 3, "deployment": {"resources": {"a": 1}}}, "deployment.resources: found an object; allowed: a list"),
        (exported("x"), 'deployment.resources[0]: found "x"; allowed: an object'),
        (exported({"type": SERVER}), "deployment.resources[0].urn: found nothing; allowed: a URN"),
        (exported({"urn": "urn:pulumi:x", "type": SERVER}), 'deployment.resources[0].urn: found "urn:pulumi:x"; allowed: a URN'),
        (exported({"urn": urn(SERVER, "a"), "type": 1}), "deployment.resources[0].type: found 1; allowed: a type token"),
        (exported(entry(SERVER, "a") | {"inputs": "x"}), 'deployment.resources[0].inputs: found "x"; allowed: an object'),
        (exported(entry(SERVER, "a", parent=1)), "deployment.resources[0].parent: found 1; allowed: a URN"),
        (exported(entry(SERVER, "a", dependencies="b")), 'deployment.resources[0].dependencies: found "b"; allowed: a list of strings'),
        (exported(entry(SERVER, "a", aliases=[{}])), "deployment.resources[0].aliases: found a list; allowed: a list of strings"),
        (exported(), "found a state without resources; there is nothing to compare with"),
    ],
)
def test_what_is_no_exported_state_is_an_exact_error(tmp_path: Path, document: Any, problem: str) -> None:
    with pytest.raises(RungwayError) as caught:
        read(tmp_path, document)
    assert str(caught.value) == f"{tmp_path / 'state.json'}: {problem}"


def test_a_file_that_is_not_there_or_not_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RungwayError, match=r"missing.json: can't read the state: No such file or directory$") as caught:
        plan_from_state(tmp_path / "missing.json")
    assert caught.value.hint == "write it with `pulumi stack export --stack <stack> --file state.json`"
    with pytest.raises(RungwayError, match=r"can't read the state: Is a directory$"):
        plan_from_state(tmp_path)
    (tmp_path / "state.json.gz").write_bytes(b"\x1f\x8b\x08\x00\xff\xfe")
    with pytest.raises(RungwayError, match=r"found no text; it may be compressed or encrypted; allowed: JSON$"):
        plan_from_state(tmp_path / "state.json.gz")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(200_000_001)
    with pytest.raises(RungwayError, match=r"huge.json: found 200,000,001 bytes; allowed: 200,000,000$"):
        plan_from_state(path)
