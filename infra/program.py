"""The Pulumi program: the stack's config in, resources out."""

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from infra.budgets import host_budgets, overdrawn
from infra.build import build_stack
from infra.problems import SettingsError
from infra.reading import read_settings
from infra.unbuilt import unbuilt_parts


def main() -> None:
    """Build the stack that the engine is running.

    Raises:
        pulumi.RunError: the settings have problems, lack what only their user knows, promise more memory or connections than there are, or
            ask for parts that are not built yet. Nothing was registered then, and the engine prints the text without a traceback.
    """
    config = {**get_config_env(), **CONFIG.get()}
    source = f"stack {pulumi.get_stack()}"
    settings, _ = read_settings(config, source=source, require_user_values=True)
    over = overdrawn(host_budgets(settings))
    if over:
        raise SettingsError(source, over)
    unbuilt = unbuilt_parts(settings)
    if unbuilt:
        lines = [f"{part.path}: {part.part} is not built yet: {part.why}" for part in unbuilt]
        raise pulumi.RunError("This phase asks for parts that Rungway can't build yet:\n" + "\n".join(f"  - {line}" for line in lines))
    build_stack(settings)
