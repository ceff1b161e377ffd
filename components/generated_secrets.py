"""Passwords and tokens that a stack makes for itself."""

from typing import TypedDict

import pulumi

from components.arguments import Arguments

LENGTH = 48
"""Letters and digits of a secret: 285 bits, and no character that a shell, a URL or a configuration file takes for its own."""


class GeneratedSecretsArgs(TypedDict):
    """Which secrets there are."""

    names: pulumi.Input[list[pulumi.Input[str]]]
    """Names of the secrets, each once. A name that goes would take its secret with it, which its protection refuses."""


class GeneratedSecrets(pulumi.ComponentResource):
    """A random secret for each name, made once: no edit rotates it, and its protection keeps it from being lost.

    Backups are encrypted with one, and every store knows its clients by others: whoever rotates one does it on purpose.
    """

    values: pulumi.Output[dict[str, str]]
    """The secrets by name; secret."""

    def __init__(self, name: str, args: GeneratedSecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:GeneratedSecrets", name, {}, opts)
        arguments = Arguments("GeneratedSecrets", name, args, GeneratedSecretsArgs)
        names = arguments.plain("names", list, [])
        for index, secret in enumerate(names):
            if not isinstance(secret, str) or not secret or secret in names[:index]:
                arguments.problem(f"names[{index}]", secret, "a name, known before deployment, that no other secret has")
        arguments.check()
        from pulumi_random.random_password import RandomPassword

        passwords = {
            secret: RandomPassword(
                f"secret-{secret}",
                length=LENGTH,
                special=False,
                # Every input replaces a password: without this another length in a later release would rotate all of them.
                opts=pulumi.ResourceOptions(parent=self, protect=True, ignore_changes=["length", "special"]),
            ).result
            for secret in names
        }
        self.values = pulumi.Output.secret(pulumi.Output.all(**passwords))
        self.register_outputs({"values": self.values})
