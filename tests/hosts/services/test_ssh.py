"""SSH: never weaker than on the first boot, and forwarding only where somebody has to go on."""

import pytest

from hosts import bootstrap
from hosts.services.ssh import PATH, ssh
from tests.support.minimal_host import minimal_host


def _settings(text: str) -> dict[str, str]:
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    settings = {keyword: value for keyword, value in lines}  # noqa: C416
    assert len(settings) == len(lines), "the second value of a keyword has no effect"
    return settings


def test_the_file_of_the_first_boot_is_replaced() -> None:
    user_data = bootstrap.bootstrap_user_data(hostname="app-eu-1", public_keys=[], provider="hetzner", data_mount=None)
    assert f'"path": "{PATH}"' in user_data


@pytest.mark.parametrize(("jump_host", "forwarding"), [(None, "local"), ("app-eu-1", "no")])
def test_nothing_of_the_first_boot_is_lost_and_only_forwarding_is_stricter(jump_host: str | None, forwarding: str) -> None:
    first = _settings(bootstrap._SSHD.format(admin_user="admin"))
    now = _settings(ssh(minimal_host(jump_host=jump_host)).files[0].content)
    assert {keyword: now[keyword] for keyword in first} == {**first, "AllowTcpForwarding": forwarding}


def test_what_must_hold_is_asked_of_sshd_itself() -> None:
    checks = ssh(minimal_host(jump_host="app-eu-1")).checks
    assert checks[0] == "sshd -t"
    assert "sshd -T | grep --quiet --line-regexp 'permitrootlogin no'" in checks
    assert "sshd -T | grep --quiet --line-regexp 'allowtcpforwarding no'" in checks


def test_a_change_keeps_open_sessions() -> None:
    assert ssh(minimal_host()).on_change == "reload"


def test_no_algorithm_that_is_known_to_be_weak() -> None:
    """A list that is left out would be sshd's own, which has some of them."""
    text = ssh(minimal_host()).files[0].content.lower()
    assert {"kexalgorithms", "ciphers", "macs", "hostkeyalgorithms"} <= {line.partition(" ")[0] for line in text.splitlines()}
    assert not [weak for weak in ("sha1", "md5", "cbc", "nistp", "diffie-hellman", "ssh-rsa", "umac-64", "3des") if weak in text]
