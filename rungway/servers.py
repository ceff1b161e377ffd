"""The servers of a stack, as its file describes them."""

from pathlib import Path

from hosts.specification import HostSpecification
from rungway.errors import RungwayError
from rungway.stacks import find_stack, project_root


def servers_of_stack(stack_name: str) -> tuple[HostSpecification, ...]:
    """The specification of every server of the stack, with placeholders for what its user has not set.

    Raises:
        RungwayError: no such stack, or settings with problems.
    """
    # Here, because Pulumi's errors come with its SDK, which takes long to import.
    import pulumi

    from infra.host_specifications import host_specifications
    from infra.reading import read_settings
    from infra.stack_file import engine_config, read_stack_file

    stack = find_stack(stack_name, project_root(Path.cwd()))
    try:
        config, _ = engine_config(read_stack_file(stack.path))
        settings, _ = read_settings(config, source=stack.name, require_user_values=False)
    except pulumi.RunError as error:
        raise RungwayError(str(error)) from error
    return host_specifications(settings)
