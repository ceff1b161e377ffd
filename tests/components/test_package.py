"""The components as a package for programs in other languages: their schema, and the plugin that serves it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
import yaml
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

import components
from components.__main__ import COMPONENTS

FOLDER = Path(components.__file__).parent
CLASSES = {
    "AppVPS",
    "DataVolume",
    "DatabaseVPS",
    "DnsName",
    "EdgeZone",
    "GeneratedSecrets",
    "GlobalLoadBalancer",
    "HostConvergence",
    "K8sCluster",
    "LoadBalancer",
    "MonitoringVPS",
    "OriginCertificate",
    "PrivateNetwork",
    "PublicAddress",
    "R2Bucket",
    "RedisNode",
    "ServerGroup",
    "SshKeys",
    "StaticSite",
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(ComponentProvider(COMPONENTS, "rungway").schema or "")
    return read


def test_every_component_is_in_the_schema_under_its_permanent_token(schema: dict[str, Any]) -> None:
    assert set(schema["resources"]) == {f"rungway:index:{name}" for name in CLASSES}
    assert all(resource["isComponent"] for resource in schema["resources"].values())


def test_every_class_in_the_room_is_served() -> None:
    defined = {
        name
        for path in FOLDER.glob("*.py")
        for name in re.findall(r"^class (\w+)\((?:pulumi\.ComponentResource|ServerComponent)\)", path.read_text(), re.MULTILINE)
    }
    assert defined - {"ServerComponent"} == CLASSES


@pytest.mark.parametrize("kind", ["resources", "types"])
def test_everything_and_every_input_is_described(schema: dict[str, Any], kind: str) -> None:
    silent = [
        f"{token}.{name}"
        for token, item in schema[kind].items()
        for name, described in [("", item), *(item["inputProperties"] if kind == "resources" else item["properties"]).items()]
        if not described.get("description")
    ]
    assert silent == []


def test_few_arguments_are_required(schema: dict[str, Any]) -> None:
    required = {token.rsplit(":", 1)[-1]: sorted(resource["requiredInputs"]) for token, resource in schema["resources"].items()}
    server = ["location", "provider", "serverType"]
    assert required == {
        "AppVPS": server,
        "DatabaseVPS": server,
        "RedisNode": server,
        "MonitoringVPS": server,
        "DataVolume": ["location", "provider", "sizeGb"],
        "PublicAddress": ["location", "provider"],
        "PrivateNetwork": ["cidr", "provider", "subnets"],
        "ServerGroup": ["provider", "rules", "servers"],
        "SshKeys": ["provider", "publicKeys"],
        "LoadBalancer": ["location", "provider", "type"],
        "OriginCertificate": ["authoritySecret", "hostnames"],
        "K8sCluster": ["controlNodes", "location", "pools", "provider"],
        "R2Bucket": ["accountId", "bucketName"],
        "StaticSite": ["accountId", "hostname", "productionBranch", "projectName", "zoneId"],
        "EdgeZone": ["zoneId"],
        "DnsName": ["hostname", "ipv4Addresses", "zoneId"],
        "GlobalLoadBalancer": ["accountId", "hostname", "pools", "zoneId"],
        "GeneratedSecrets": ["names"],
        "HostConvergence": ["digest", "request", "serverId"],
    }


def test_every_output_of_a_component_is_in_its_schema(schema: dict[str, Any]) -> None:
    assert sorted(schema["resources"]["rungway:index:DatabaseVPS"]["properties"]) == [
        "privateAddress",
        "publicIpv4",
        "publicIpv6",
        "serverId",
        "volumeId",
    ]
    assert all(resource["properties"] for resource in schema["resources"].values())


def test_the_plugin_is_a_python_plugin() -> None:
    assert yaml.safe_load((FOLDER / "PulumiPlugin.yaml").read_text()) == {"runtime": "python"}


@pytest.mark.parametrize("copied", [False, True], ids=["installed", "folder"])
def test_the_plugin_serves_the_schema(copied: bool, tmp_path: Path, schema: dict[str, Any]) -> None:
    """Installed: as `python -m components`. As a folder: Pulumi starts Python with the folder, anywhere."""
    if copied:
        folder = tmp_path / "components"
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
        dns = folder / "dns_name.py"
        dns.write_text(dns.read_text().replace("A record for each address", "From the copy: a record for each address"))
        command = [str(folder)]
    else:
        command = ["-m", "components"]
    process = subprocess.Popen(
        # 127.0.0.1:1 stands for the engine, which a schema does not need.
        [sys.executable, *command, "127.0.0.1:1"],
        cwd=tmp_path if copied else FOLDER.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_receive_message_length", -1)]) as channel:
            answer = provider_pb2_grpc.ResourceProviderStub(channel).GetSchema(provider_pb2.GetSchemaRequest(), timeout=30)
    finally:
        process.kill()
        process.communicate()

    served = json.loads(answer.schema)
    described = served["resources"]["rungway:index:DnsName"].pop("description")
    expected = json.loads(json.dumps(schema))
    assert described.startswith("From the copy:" if copied else "A record")
    del expected["resources"]["rungway:index:DnsName"]["description"]
    assert served == expected
