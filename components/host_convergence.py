"""Makes a server what its configuration says."""

from typing import TypedDict

import pulumi

from components.arguments import Arguments

COMMAND = "../.venv/bin/python -P -m hosts.converge"
"""Relative, so that the state is the same whoever runs `pulumi up`: the engine runs commands in the program's folder (`main` of
Pulumi.yaml, infra/), and the program in the virtual environment beside it (`virtualenv`). -P keeps that folder's modules out of
Python's way."""


class HostConvergenceArgs(TypedDict):
    """What the server must be, and which server it is."""

    server_id: pulumi.Input[str]
    """Id of the server: another one, even under the same addresses, has to converge too."""
    request: pulumi.Input[str]
    """What is asked, as JSON of `hosts.converge.request.Request`. It holds passwords: treated as secret."""
    digest: pulumi.Input[str]
    """Tells one configuration from another and holds nothing of it: it is shown in previews."""


class HostConvergence(pulumi.ComponentResource):
    """Converges a server over SSH when it is new and whenever what is asked of it changes: in place, and nothing when it goes.

    The request reaches the command by standard input alone. `depends_on` says what must be there first: the server with its network
    and volume, and the servers whose services it needs.
    """

    result: pulumi.Output[str]
    """What the last convergence found and did, as JSON of `hosts.converge.request.Result`; secret."""

    def __init__(self, name: str, args: HostConvergenceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:HostConvergence", name, {}, opts)
        Arguments("HostConvergence", name, args, HostConvergenceArgs).check()
        from pulumi_command.local._enums import Logging
        from pulumi_command.local.command import Command

        command = Command(
            name,
            create=COMMAND,
            # A changed digest runs this, in place. `triggers` would preview as a replacement.
            update=COMMAND,
            stdin=pulumi.Output.secret(args["request"]),
            environment={"RUNGWAY_SERVER_ID": args["server_id"], "RUNGWAY_CONFIGURATION_DIGEST": args["digest"]},
            # What the command writes is masked neither in logs nor in the next run's environment. An error shows it all the same.
            logging=Logging.NONE,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                # A component's own dependencies don't reach its children.
                depends_on=opts.depends_on if opts is not None else None,
                additional_secret_outputs=["stdout", "stderr"],
            ),
        )
        self.result = command.stdout
        self.register_outputs({"result": self.result})
