"""Bare provider packages change how long a plan takes, and nothing else."""

import gc
import json
import subprocess
import sys

import pytest

from rungway.provider_packages import bare_provider_packages

_PROGRAM = """
import contextlib, dataclasses, json, sys
from rungway.provider_packages import PROVIDER_PACKAGES, bare_provider_packages
from rungway.recorder import record

def program():
    import pulumi
    from pulumi_cloudflare.r2_bucket import R2Bucket
    from pulumi_cloudflare.r2_bucket_cors import R2BucketCors
    from pulumi_digitalocean.droplet import Droplet
    from pulumi_hcloud.server import Server
    bucket = R2Bucket("bucket-images", account_id="a" * 32, name="shop-images")
    R2BucketCors(
        "bucket-images-cors",
        account_id="a" * 32,
        bucket_name=bucket.name,
        rules=[{"allowed": {"methods": ["GET"], "origins": ["https://example.com"]}, "max_age_seconds": 60}],
    )
    server = Server("app-eu-1", server_type="cx33", public_nets=[{"ipv4_enabled": True}], user_data=pulumi.Output.secret("#!"))
    droplet = Droplet("app-us-1", image="debian-13-x64", size="s-1vcpu-1gb", region="fra1", tags=[server.ipv4_address])
    pulumi.export("address", droplet.ipv4_address)

with bare_provider_packages() if sys.argv[1] == "bare" else contextlib.nullcontext():
    recording = record(program, project="rungway", stack="mvp", config={})
loaded = {name: sum(module.startswith(name + ".") for module in sys.modules) for name in PROVIDER_PACKAGES}
print(json.dumps([dataclasses.asdict(recording), loaded]))
"""


def _run(program: str, *arguments: str) -> str:
    return subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True).stdout


def test_same_registrations_with_and_without_and_few_modules_loaded() -> None:
    bare, bare_modules = json.loads(_run(_PROGRAM, "bare"))
    whole, whole_modules = json.loads(_run(_PROGRAM, "whole"))
    assert bare == whole
    assert [resource["name"] for resource in bare["resources"]] == ["bucket-images", "bucket-images-cors", "app-eu-1", "app-us-1"]
    assert bare["resources"][1]["inputs"]["rules"] == [
        {"allowed": {"methods": ["GET"], "origins": ["https://example.com"]}, "maxAgeSeconds": 60}
    ]
    assert bare_modules["pulumi_cloudflare"] <= 6
    assert whole_modules["pulumi_cloudflare"] > 200
    assert bare_modules["pulumi_kubernetes"] == 0


@pytest.mark.parametrize("name", ["Server", "get_network"])
def test_a_name_of_the_package_itself_loads_all_of_it(name: str) -> None:
    program = f"""
from rungway.provider_packages import bare_provider_packages
with bare_provider_packages():
    from pulumi_hcloud.server import Server
    import pulumi_hcloud
    assert pulumi_hcloud.server.Server is Server
    assert hasattr(pulumi_hcloud, {name!r})
    assert pulumi_hcloud.Server is Server
print("done")
"""
    assert _run(program) == "done\n"


def test_packages_that_were_not_used_are_gone_afterwards() -> None:
    program = """
import sys
from rungway.provider_packages import bare_provider_packages
with bare_provider_packages():
    assert "pulumi_kubernetes" in sys.modules
assert "pulumi_kubernetes" not in sys.modules
print("done")
"""
    assert _run(program) == "done\n"


def test_the_collector_rests_within_the_block_only() -> None:
    def fail() -> None:
        with bare_provider_packages():
            assert not gc.isenabled()
            raise ValueError("program")

    with pytest.raises(ValueError, match="program"):
        fail()
    assert gc.isenabled()
    gc.disable()
    try:
        with bare_provider_packages():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
