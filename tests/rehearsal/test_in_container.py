"""A whole rehearsal in one privileged container of a real Docker engine."""

import json
import os
import subprocess
import sys

import pytest

from rungway.rehearsal.container import CODE, lack_of_engine

LACKS = lack_of_engine()


@pytest.mark.skipif(
    bool(LACKS) and not os.environ.get("RUNGWAY_REQUIRE_DOCKER"),
    reason=f"{LACKS}; set RUNGWAY_REQUIRE_DOCKER=1 to make this a failure",
)
def test_nothing_failed_and_nothing_is_left() -> None:
    command = [sys.executable, "-m", "rungway", "rehearse", "mvp", "--container", "--json"]
    done = subprocess.run(command, cwd=CODE, capture_output=True, text=True)

    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert [check for check in found["checks"] if check["ok"] is False] == []
    assert done.returncode == 0
    left = subprocess.run(["docker", "ps", "--all", "--quiet", "--filter", "name=rungway-rehearsal-mvp"], capture_output=True, text=True)
    assert left.stdout == ""
