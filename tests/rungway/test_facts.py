"""The table of facts says what the providers say, and inputs are held to it."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rungway import facts_refresh
from rungway.facts import check_inputs, forces_replacement, holds_data, known_types, secret_inputs
from rungway.model import SECRET, UNKNOWN, Finding, Level, Resource

SCHEMAS = Path(__file__).resolve().parents[3] / "shared" / "provider-schemas"
SMALL_SCHEMAS = Path(__file__).resolve().parents[1] / "support" / "provider_schemas"
needs_schemas = pytest.mark.skipif(not SCHEMAS.is_dir(), reason="the providers' schemas are not beside this checkout")

COMPONENTS = Path(__file__).resolve().parents[2] / "components"

SERVER = "hcloud:index/server:Server"


def resource(type_: str, inputs: dict[str, Any], *, component: bool = False) -> Resource:
    return Resource(f"urn:pulumi:mvp::rungway::{type_}::app-eu-1", type_, "app-eu-1", None, component, inputs)


def messages(type_: str, inputs: dict[str, Any]) -> list[str]:
    found = check_inputs(resource(type_, inputs))
    assert {(finding.level, finding.code, finding.path) for finding in found} <= {
        (Level.ERROR, "input", f"urn:pulumi:mvp::rungway::{type_}::app-eu-1")
    }
    return [finding.message for finding in found]


@needs_schemas
def test_the_table_is_what_the_providers_schemas_say() -> None:
    assert facts_refresh.FACTS.read_text() == facts_refresh.render(facts_refresh.extract(SCHEMAS, SMALL_SCHEMAS))


@needs_schemas
def test_the_table_and_the_schemas_agree_when_read_independently() -> None:
    """Not through `extract`: types, required, secret and replacing inputs straight from the schema files."""
    table = json.loads(facts_refresh.FACTS.read_text())["types"]
    from_sources = {
        (entry["type"], name) for entry in YAML(typ="safe").load(facts_refresh.SOURCES)["replacements"] for name in entry["properties"]
    }
    for token, facts in table.items():
        (file,) = [path for folder in (SCHEMAS, SMALL_SCHEMAS) if (path := folder / f"{token.split(':')[0]}.json").is_file()]
        schema = json.loads(file.read_text())["resources"][token]
        inputs = facts["inputs"]
        assert set(inputs) == set(schema["inputs"]), token
        assert {name for name in inputs if inputs[name].get("required")} == set(schema["required"]), token
        for name, written in schema["inputs"].items():
            assert inputs[name].get("secret", False) == written.get("secret", False), (token, name)
            replaces = written.get("willReplaceOnChanges", False) or (token, name) in from_sources
            assert ("replace" in inputs[name]) == replaces, (token, name)
            if "$ref" not in written:
                assert inputs[name]["type"] == written["type"], (token, name)


@needs_schemas
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"types": ["hcloud:index/sever:Sever"]},
            "hcloud:index/sever:Sever: found in facts_sources.yaml, but hcloud 1.43.3 has no such type",
        ),
        (
            {"replacements": [{"type": SERVER, "properties": ["colour"], "source": "x"}]},
            f"{SERVER}.colour: found in facts_sources.yaml, but the schema has no such property",
        ),
        (
            {"replacements": [{"type": SERVER, "properties": ["image"], "source": "x"}]},
            f"{SERVER}.image: found in facts_sources.yaml, but the schema says itself that it replaces; remove it",
        ),
    ],
)
def test_sources_that_the_schemas_contradict_are_refused(
    change: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "facts_sources.yaml"
    path.write_text(json.dumps({"types": [SERVER], "holds_data": [], "replacements": []} | change))
    monkeypatch.setattr(facts_refresh, "SOURCES", path)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole text is compared)
        facts_refresh.extract(SCHEMAS)
    assert str(caught.value) == message


def test_every_type_that_a_component_imports_is_in_the_table() -> None:
    """By the imports: `from pulumi_hcloud.server import Server` is hcloud:index/server:Server, Command of pulumi_command.local.command is
    command:local:Command. Arguments, enumerations and functions are no types."""
    imports = [
        (*node.module.removeprefix("pulumi_").split(".")[:-1], name.name)
        for path in sorted(COMPONENTS.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pulumi_") and "." in node.module
        for name in node.names
        if not node.module.endswith("._enums")
    ]
    classes = {each for each in imports if each[-1][0].isupper() and not each[-1].endswith(("Args", "ArgsDict"))}
    tokens = {":".join(each) if len(each) > 2 else f"{each[0]}:index/{each[1][0].lower()}{each[1][1:]}:{each[1]}" for each in classes}
    assert tokens - known_types() == set(), "add these to rungway/facts_sources.yaml and run python -m rungway.facts_refresh"


def test_every_replacement_names_its_source() -> None:
    for entry in YAML(typ="safe").load(facts_refresh.SOURCES)["replacements"]:
        assert entry["source"].startswith(("terraform-provider-", "developers.cloudflare.com/")), entry
        assert entry.get("when", "always") in {"always", "turned_off", "lowered"}, entry


def test_good_inputs_have_no_findings() -> None:
    inputs = {
        "serverType": "cx33",
        "image": "debian-13",
        "labels": {"app": "shop", "role": UNKNOWN},
        "publicNets": [{"ipv4Enabled": True, "ipv4": UNKNOWN, "ipv6": None}, UNKNOWN],
        "firewallIds": [1, UNKNOWN],
        "sshKeys": UNKNOWN,
        "userData": SECRET,
        "backups": True,
    }
    assert messages(SERVER, inputs) == []


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"serverTypo": "cx33"}, "serverTypo: found an unknown property; did you mean 'serverType'?"),
        ({"publicNets": [{"ipv4_enabled": 1}]}, "publicNets[0].ipv4_enabled: found an unknown property; did you mean 'ipv4Enabled'?"),
        ({"publicNets": [{"ipv4": "17"}]}, 'publicNets[0].ipv4: found "17"; allowed: an integer'),
        ({"publicNets": {"ipv4": 17}}, "publicNets: found an object; allowed: a list"),
        ({"publicNets": [17]}, "publicNets[0]: found 17; allowed: an object"),
        ({"labels": {"app": 7}}, "labels.app: found 7; allowed: a string"),
        ({"labels": ["app"]}, "labels: found a list; allowed: an object"),
        ({"image": True}, "image: found true; allowed: a string"),
        ({"placementGroupId": True}, "placementGroupId: found true; allowed: an integer"),
        ({"placementGroupId": 1.5}, "placementGroupId: found 1.5; allowed: an integer"),
        ({"backups": 1}, "backups: found 1; allowed: true or false"),
        ({"name": "größe", "backups": "ö"}, 'backups: found "ö"; allowed: true or false'),
    ],
)  # fmt: skip
def test_bad_inputs_are_named_with_their_path(inputs: dict[str, Any], message: str) -> None:
    assert messages(SERVER, {"serverType": "cx33", **inputs}) == [message]


def test_all_problems_are_found_at_once() -> None:
    inputs = {"networkId": "17", "ipRange": None, "typ": "cloud"}
    assert messages("hcloud:index/networkSubnet:NetworkSubnet", inputs) == [
        'networkId: found "17"; allowed: an integer',
        "typ: found an unknown property; did you mean 'type'?",
        "ipRange: found nothing; required: a string",
        "networkZone: found nothing; required: a string",
        "type: found nothing; required: a string",
    ]


def test_required_properties_inside_lists_are_missed_too() -> None:
    found = messages("cloudflare:index/r2BucketCors:R2BucketCors", {"accountId": "a", "bucketName": "b", "rules": [{"maxAgeSeconds": 1.5}]})
    assert found == ["rules[0].allowed: found nothing; required: an object"]


def test_values_of_any_type_are_accepted() -> None:
    for value in ("on", {"strict": True}, ["x"], 3):
        assert messages("cloudflare:index/zoneSetting:ZoneSetting", {"zoneId": "z", "settingId": "hsts", "value": value}) == []


def test_components_and_providers_are_not_checked_and_unknown_types_are_said() -> None:
    assert check_inputs(resource("rungway:index:AppVPS", {"anything": 1}, component=True)) == []
    assert check_inputs(resource("pulumi:providers:hcloud", {"token": SECRET})) == []
    assert check_inputs(resource("hcloud:index/zone:Zone", {})) == [
        Finding(
            Level.WARNING,
            "type_without_facts",
            "urn:pulumi:mvp::rungway::hcloud:index/zone:Zone::app-eu-1",
            "hcloud:index/zone:Zone: found no facts on this type; its inputs were not checked",
            "add the type to rungway/facts_sources.yaml and run python -m rungway.facts_refresh",
        )
    ]


@pytest.mark.parametrize(
    ("type_", "path", "before", "after", "replaces"),
    [
        (SERVER, "userData", SECRET, SECRET, True),
        (SERVER, "sshKeys[0]", "a", "b", True),
        (SERVER, "serverType", "cx33", "cx43", False),
        (SERVER, "publicNets[0].ipv4", 1, 2, False),
        (SERVER, "labels.location", "a", "b", False),
        ("hcloud:index/serverNetwork:ServerNetwork", "ip", "10.0.0.1", "10.0.0.2", True),
        ("hcloud:index/primaryIp:PrimaryIp", "location", "nbg1", "fsn1", True),
        ("digitalocean:index/kubernetesCluster:KubernetesCluster", "nodePool.size", "a", "b", True),
        ("digitalocean:index/kubernetesCluster:KubernetesCluster", "nodePool.maxNodes", 1, 2, False),
        ("digitalocean:index/kubernetesCluster:KubernetesCluster", "version", "1.34.1-do.0", "1.33.9-do.2", True),
        ("digitalocean:index/kubernetesCluster:KubernetesCluster", "version", "1.9.0-do.0", "1.33.1-do.0", False),
        ("digitalocean:index/kubernetesCluster:KubernetesCluster", "version", "1.34.1-do.0", UNKNOWN, True),
        ("digitalocean:index/droplet:Droplet", "ipv6", True, False, True),
        ("digitalocean:index/droplet:Droplet", "ipv6", False, True, False),
        ("cloudflare:index/r2Bucket:R2Bucket", "name", "a", "b", True),
        ("cloudflare:index/zoneSetting:ZoneSetting", "value", "a", "b", False),
        ("hcloud:index/zone:Zone", "name", "a", "b", False),
    ],
)
def test_what_replaces(type_: str, path: str, before: Any, after: Any, replaces: bool) -> None:
    assert forces_replacement(type_, path, before, after) is replaces


def test_what_holds_data() -> None:
    assert holds_data("hcloud:index/volume:Volume")
    assert holds_data("cloudflare:index/r2Bucket:R2Bucket")
    assert not holds_data("hcloud:index/primaryIp:PrimaryIp")
    assert not holds_data(SERVER)


def test_secret_inputs() -> None:
    assert secret_inputs("hcloud:index/uploadedCertificate:UploadedCertificate") == {"privateKey"}
    assert secret_inputs(SERVER) == frozenset()
    assert SERVER in known_types()
