"""What tests of convergence share: one booted server."""

from collections.abc import Iterator

import pytest

from rungway.rehearsal.phase import RehearsedPhase
from rungway.rehearsal.server import RehearsedServer
from tests.support.rehearsed_server import SERVER, agent, ask, changed, changes, probe, rehearsed_phase


@pytest.fixture(scope="session")
def phase() -> Iterator[RehearsedPhase]:
    """One server that answers."""
    with rehearsed_phase() as phase:
        changes(ask(phase, probe()))
        yield phase


@pytest.fixture
def server(phase: RehearsedPhase) -> RehearsedServer:
    """The server, with the small service on it and nothing left of other tests."""
    server = phase.servers[SERVER]
    server.run("rm -f /run/waiting /run/waited /run/go")
    changed(agent(server, probe()))
    return server
