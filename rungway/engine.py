"""Asks the real Pulumi engine what a stack would build: a preview in a throw-away local backend, with placeholder tokens.

Nothing of the user's is touched: the preview runs in a temporary folder with a copy of the stack file, a state of its own and tokens that
no provider accepts. Providers validate inputs without calling their clouds in a preview of a new stack.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from rungway.errors import RungwayError
from rungway.model import UNKNOWN, Resource
from rungway.stacks import Stack

if TYPE_CHECKING:
    from infra.reading import Unset

_ENGINE_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How the engine writes an unknown text (sdk/go/common/resource/plugin/rpc.go, UnknownStringValue)."""

_TIMEOUT_SECONDS = 300

_PLACEHOLDER_TOKENS = {
    "HCLOUD_TOKEN": "rungwayplaceholder".ljust(64, "0"),
    "DIGITALOCEAN_TOKEN": "rungway-placeholder",
    "CLOUDFLARE_API_TOKEN": "rungwayplaceholder".ljust(40, "0"),
}


def preview(stack: Stack, root: Path, unset: Sequence["Unset"]) -> tuple[list[Resource], dict[str, Any]]:
    """The resources and outputs of `stack` as the engine previews them, with the placeholders of `unset` filled in.

    Names that the engine invents and defaults that a provider adds (`__defaults`) are left out, so that the result is what the program
    said.

    Raises:
        RungwayError: no Pulumi CLI on PATH, or the engine refuses the preview (its own messages are quoted).
    """
    pulumi = shutil.which("pulumi")
    if pulumi is None:
        raise RungwayError(
            "pulumi: not found on PATH", hint="install the Pulumi CLI (https://www.pulumi.com/docs/install/), or plan without --engine"
        )
    with tempfile.TemporaryDirectory(prefix="rungway-engine-") as folder:
        project = Path(folder)
        _lay_out(project, stack, root, unset)
        environment = _environment(project)
        _run([pulumi, "stack", "init", stack.pulumi_stack, "--non-interactive"], project, environment)
        answer = _run([pulumi, "preview", "--json", "--non-interactive", "--stack", stack.pulumi_stack], project, environment)
    try:
        document = json.loads(answer)
    except ValueError as error:
        raise RungwayError(f"pulumi preview: found no JSON: {answer[:200]!r}", hint="is this Pulumi CLI 3.200 or newer?") from error
    return resources_of_preview(document), {}


def resources_of_preview(document: Mapping[str, Any]) -> list[Resource]:
    """The resources of a `pulumi preview --json` document, but for the default providers that the engine adds by itself."""
    states = [step["newState"] for step in document.get("steps", []) if step.get("newState")]
    return [_resource(state) for state in states if not state["type"].startswith("pulumi:providers:")]


def _resource(state: Mapping[str, Any]) -> Resource:
    name = state["urn"].rsplit("::", 1)[-1]
    inputs = _plain(state.get("inputs", {}))
    # Some providers don't list the name that the engine invents, a logical name with seven hexadecimal digits, among the defaults.
    if re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{7}}", str(inputs.get("name"))):
        del inputs["name"]
    property_dependencies = [urn for urns in state.get("propertyDependencies", {}).values() for urn in urns]
    return Resource(
        urn=state["urn"],
        type=state["type"],
        name=name,
        parent=state.get("parent"),
        component=not state["custom"],
        inputs=inputs,
        protect=state.get("protect", False),
        ignore_changes=tuple(state.get("ignoreChanges", ())),
        aliases=tuple(state.get("aliases", ())),
        dependencies=tuple(sorted({*state.get("dependencies", ()), *property_dependencies})),
        retain_on_delete=state.get("retainOnDelete", False),
    )


def _plain(value: Any) -> Any:
    """A value without what a provider filled in, and with unknowns marked as in every plan."""
    if isinstance(value, dict):
        filled_in = {"__defaults", *value.get("__defaults", ())}
        return {key: _plain(item) for key, item in sorted(value.items()) if key not in filled_in}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return UNKNOWN if value == _ENGINE_UNKNOWN else value


def _lay_out(project: Path, stack: Stack, root: Path, unset: Sequence["Unset"]) -> None:
    """A project of its own that runs the checkout's program: the engine writes beside Pulumi.yaml, and must not write into the checkout."""
    yaml = YAML()
    manifest = yaml.load((root / "Pulumi.yaml").read_text(encoding="utf-8"))
    manifest["runtime"]["options"]["virtualenv"] = sys.prefix
    with (project / "Pulumi.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(manifest, file)
    (project / "infra").symlink_to(root / "infra")
    stack_file = yaml.load(stack.path.read_text(encoding="utf-8"))
    for item in unset:
        stack_file["config"][item.path] = json.loads(item.placeholder) if item.placeholder.startswith("[") else item.placeholder
    with (project / f"Pulumi.{stack.pulumi_stack}.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(stack_file, file)
    (project / "state").mkdir()


def _environment(project: Path) -> dict[str, str]:
    return {
        **os.environ,
        **_PLACEHOLDER_TOKENS,
        "PULUMI_BACKEND_URL": (project / "state").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "throw-away",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "NO_COLOR": "1",
    }


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RungwayError(f"{' '.join(command[1:3])}: no answer from the Pulumi engine in {_TIMEOUT_SECONDS} s") from error
    if done.returncode:
        raise RungwayError(f"the Pulumi engine refused `{' '.join(command[1:3])}`:\n{_complaint(done.stdout, done.stderr)}")
    return done.stdout


def _complaint(stdout: str, stderr: str) -> str:
    """What the engine said was wrong: the errors of its JSON where there are any, else its plain text."""
    try:
        diagnostics = json.loads(stdout).get("diagnostics", [])
    except (ValueError, AttributeError):
        return (stderr or stdout).strip()
    errors = [item["message"].strip() for item in diagnostics if item.get("severity") == "error"]
    return "\n".join(errors) or stderr.strip()
