"""What tests of servers share."""

from pathlib import Path

import pytest

from hosts.configuration import HostConfiguration
from rungway.rendering import configurations_of
from rungway.stacks import all_stacks
from tests.support.debian_root import DebianRoot, make_debian_root

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("shellcheck",)
"""What the tests run there besides the servers' own programs."""


@pytest.fixture(scope="session")
def configurations() -> dict[str, dict[str, HostConfiguration]]:
    """What every server of every stack holds, by stack and server."""
    return {stack.name: configurations_of(stack.name) for stack in all_stacks(ROOT)}


@pytest.fixture(scope="session")
def debian_root(configurations: dict[str, dict[str, HostConfiguration]], tmp_path_factory: pytest.TempPathFactory) -> DebianRoot:
    """A Debian root with the packages of all servers."""
    servers = [server for servers in configurations.values() for server in servers.values()]
    packages = {package for server in servers for package in server.packages}
    return make_debian_root({*packages, *TOOLS}, tmp_path_factory.mktemp("debian"))
