"""Whether this machine can boot servers, for tests that do."""

import os

import pytest

from rungway.errors import RungwayError
from rungway.rehearsal.machine import check_machine
from rungway.rehearsal.rehearse import CACHE


def require_machine(servers: int) -> None:
    """Skip the test where so many servers can't be booted; where CI is true that is a failure."""
    try:
        check_machine(servers, CACHE)
    except RungwayError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
