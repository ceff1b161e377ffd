"""How a server without a public address is reached: through another one, with the same user, key and list of known hosts."""

from pathlib import Path

import pytest
from pyinfra.connectors.sshuserclient.config import SSHConfig

from hosts.converge import run
from hosts.converge.request import Connection

PRIVATE = Connection(
    address="10.0.2.1",
    jump_address="203.0.113.7",
    key_file=Path("~/.ssh/a key"),
    known_hosts_file=Path("~/.ssh/known_hosts.shop"),
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_only_the_server_itself_is_reached_through_the_jump_host(home: Path) -> None:
    with run._client_configuration(PRIVATE) as file:
        assert file is not None
        configuration = SSHConfig.from_path(str(file))
    common = {
        "user": "admin",
        "identityfile": [f"{home}/.ssh/a key"],
        "userknownhostsfile": f"{home}/.ssh/known_hosts.shop",
        "stricthostkeychecking": "accept-new",
    }

    assert configuration.lookup("10.0.2.1") == {**common, "hostname": "10.0.2.1", "proxyjump": "203.0.113.7"}
    assert configuration.lookup("203.0.113.7") == {**common, "hostname": "203.0.113.7"}


def test_the_configuration_is_gone_afterwards() -> None:
    with run._client_configuration(PRIVATE) as file:
        assert file is not None
        assert file.stat().st_mode & 0o077 == 0
    assert not file.exists()


def test_a_server_with_an_address_of_its_own_needs_none() -> None:
    with run._client_configuration(Connection(address="203.0.113.7", config_file=Path("mine"))) as file:
        assert file == Path("mine")


def test_a_key_that_is_missing_is_named_at_once_and_the_list_of_known_hosts_has_its_folder(home: Path) -> None:
    connection = Connection(address="127.0.0.1", port=1, key_file=Path("~/.ssh/none"), known_hosts_file=Path("~/.ssh/known"))

    with pytest.raises(run.ConvergeError, match=r"^app-eu-1: can't use the private key ~/.ssh/none: "):
        run._connected("app-eu-1", connection, None)
    assert (home / ".ssh").stat().st_mode & 0o777 == 0o700
