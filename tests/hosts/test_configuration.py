"""What is to be true on a server, as data: what counts as secret, and what is left open."""

import pytest

from hosts.configuration import HostConfiguration, HostFile, Service, address_of, secret
from hosts.specification import Peer


@pytest.mark.parametrize(
    ("content", "is_secret"),
    [
        ("listen 443;", False),
        (f"password = {secret('redis')}", True),
        ("${tls:key}", True),
        ("${tls:certificate}\n${tls:authority}", False),
        ("${address:database-eu-1}", False),
        (f"host=${{address:database-eu-1}} password={secret('redis')}", True),
        ("${secret:Not-A-Name}", False),
        ("$secret:redis", False),
    ],
)
def test_a_file_is_secret_when_it_will_hold_a_password_or_a_private_key(content: str, is_secret: bool) -> None:
    assert HostFile(path="/etc/file", content=content).is_secret is is_secret


def test_an_address_that_the_provider_assigns_is_left_open() -> None:
    assert address_of(Peer(name="database-eu-1", role="database", address="10.0.2.10")) == "10.0.2.10"
    assert address_of(Peer(name="database-eu-1", role="database", address=None)) == "${address:database-eu-1}"


def test_a_configuration_knows_the_files_and_packages_of_all_its_services() -> None:
    files = [HostFile(path=f"/etc/{name}", content="") for name in ("a", "b", "c")]
    services = (
        Service(name="one", packages=("nginx", "curl"), files=(files[0], files[1])),
        Service(name="two", packages=("curl",), files=(files[2],)),
    )
    configuration = HostConfiguration(name="app-eu-1", private_address=None, services=services)

    assert configuration.files == tuple(files)
    assert configuration.packages == ("nginx", "curl")
