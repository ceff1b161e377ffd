"""What every test shares."""

from pathlib import Path

import pytest

from hosts.configuration import HostConfiguration
from rungway.rehearsal.roots import APPLICATION_PACKAGES
from rungway.rendering import configurations_of
from rungway.stacks import all_stacks
from tests.support.debian_root import DebianRoot, make_debian_root

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("shellcheck", "wireguard-go", *APPLICATION_PACKAGES)
"""What tests run in the Debian root besides the servers' own programs. wg-quick calls wireguard-go where the kernel has no WireGuard."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites tests/golden/ instead of comparing with it."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files; read the difference before you commit it")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def in_project(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in the project's root, as people do."""
    monkeypatch.chdir(ROOT)
    return ROOT


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
