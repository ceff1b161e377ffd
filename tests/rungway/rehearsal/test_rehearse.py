"""What a rehearsal refuses before it boots anything."""

import pytest

from rungway.errors import RungwayError
from rungway.rehearsal.rehearse import rehearsed


@pytest.mark.parametrize(
    ("stack", "roles", "message"),
    [
        ("mvp", {"databse"}, "mvp: found no server of the role databse; allowed: app"),
        ("phase2", {"app", "x", "y"}, "phase2: found no server of the role x, y; allowed: app, database, monitoring, redis"),
        ("serverless/initial", set(), "serverless/initial: found no server to rehearse; allowed: stacks with servers"),
    ],
)
def test_roles_that_the_stack_has_not_are_refused(stack: str, roles: set[str], message: str) -> None:
    with pytest.raises(RungwayError) as caught:
        list(rehearsed(stack, print, roles=frozenset(roles)))

    assert str(caught.value) == message
