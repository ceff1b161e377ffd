"""The clock: several operators with proof, and nobody asks this server for the time."""

from hosts.services.clock import NTS_SERVERS, clock
from tests.support.minimal_host import minimal_host


def test_every_named_server_proves_who_it_is() -> None:
    lines = clock(minimal_host()).files[0].content.splitlines()
    servers = [line.split() for line in lines if line.startswith("server ")]
    assert [words[1] for words in servers] == list(NTS_SERVERS)
    assert all("nts" in words for words in servers)
    # The last two labels stand for the operator: enough of them that one which lies is outvoted.
    assert len({name.split(".", name.count(".") - 1)[-1] for name in NTS_SERVERS}) >= 3


def test_the_server_answers_nobody() -> None:
    lines = clock(minimal_host()).files[0].content.splitlines()
    assert "port 0" in lines
    assert "cmdport 0" in lines
