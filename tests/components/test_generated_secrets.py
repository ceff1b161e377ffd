"""Secrets are made once, and nothing short of a decision loses or rotates one."""

import pytest

from components.generated_secrets import GeneratedSecrets
from rungway.facts import forces_replacement, holds_data
from rungway.model import SECRET
from tests.support.built import build, problems

PASSWORD = "random:index/randomPassword:RandomPassword"


def test_each_secret_is_protected_and_kept_whatever_the_program_says_later() -> None:
    built = build(lambda: {"values": GeneratedSecrets("secrets", {"names": ["redis", "backup-cipher"]}).values})

    assert built.protected() == [("RandomPassword", "secret-redis"), ("RandomPassword", "secret-backup-cipher")]
    for name in ("secret-redis", "secret-backup-cipher"):
        password = built["RandomPassword", name]
        assert password.inputs == {"length": 48, "special": False}
        assert [key for key in password.inputs if key not in password.ignore_changes and forces_replacement(PASSWORD, key)] == []
        assert "rungway:index:GeneratedSecrets$" in password.urn
    assert built.outputs == {"values": SECRET}


def test_losing_a_secret_is_losing_data() -> None:
    assert holds_data(PASSWORD)


@pytest.mark.parametrize("names", [["redis", "redis"], ["redis", ""], ["redis", 7]])
def test_a_name_that_is_none_is_refused(names: list[str]) -> None:
    (problem,) = problems(lambda: GeneratedSecrets("secrets", {"names": list(names)}))

    assert problem.startswith("secrets (GeneratedSecrets): names[1]: found ")
