"""The servers of a stack, as its file describes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hosts.specification import HostSpecification
from rungway.errors import RungwayError
from rungway.stacks import Stack, find_stack, project_root

if TYPE_CHECKING:
    from infra.settings import Settings


def servers_of_stack(stack_name: str) -> tuple[HostSpecification, ...]:
    """The specification of every server of the stack, with placeholders for what its user has not set.

    Raises:
        RungwayError: no such stack, or settings with problems.
    """
    from infra.host_specifications import host_specifications

    return host_specifications(settings_of_stack(find_stack(stack_name, project_root(Path.cwd()))))


def settings_of_stack(stack: Stack, own: Mapping[str, str] | None = None) -> "Settings":
    """The settings of a stack file, with placeholders for what its user has not set; `own` are config texts that go before the file's.

    Raises:
        RungwayError: settings with problems; all of them are listed.
    """
    # Here, because Pulumi's errors come with its SDK, which takes long to import.
    import pulumi

    from infra.reading import read_settings
    from infra.stack_file import engine_config, read_stack_file

    try:
        config, _ = engine_config(read_stack_file(stack.path))
        settings, _ = read_settings({**config, **(own or {})}, source=stack.name, require_user_values=False)
    except pulumi.RunError as error:
        raise RungwayError(str(error)) from error
    return settings
