"""Finds the stack file that a name on the command line means.

A stack is named as `phase2` (the file beside Pulumi.yaml), as `vps/phase3` (a roadmap's phase), or by the path of its file.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

from rungway.errors import RungwayError


@dataclass(frozen=True)
class Stack:
    """A stack file: `name` as people say it, `pulumi_stack` as the engine calls it, `path` where it is."""

    name: str
    pulumi_stack: str
    path: Path


def project_root(start: Path) -> Path:
    """The folder of Rungway's Pulumi.yaml: the nearest one at or above `start`, else the one that this program was installed from."""
    for folder in (start, *start.parents):
        if (folder / "Pulumi.yaml").is_file() and (folder / "infra" / "build.py").is_file():
            return folder
    return Path(__file__).resolve().parents[1]


def all_stacks(root: Path) -> list[Stack]:
    """Every stack of the project: the default phases, then each roadmap's, in the order of their names."""
    files = [*sorted(root.glob("Pulumi.*.yaml")), *sorted(root.glob("roadmaps/*/Pulumi.*.yaml"))]
    return [_stack_of(path, root) for path in files]


def find_stack(name: str, root: Path) -> Stack:
    """The stack called `name`.

    Raises:
        RungwayError: no such stack, with the nearest names.
    """
    stacks = {stack.name: stack for stack in all_stacks(root)}
    if name in stacks:
        return stacks[name]
    path = Path(name)
    if path.suffix == ".yaml":
        if path.is_file() and path.name.startswith("Pulumi.") and path.name != "Pulumi.yaml":
            return _stack_of(path.resolve(), root)
        found = "a file of another name" if path.is_file() else "no such file"
        raise RungwayError(f"{name}: found {found}; allowed: a stack file called Pulumi.<stack>.yaml")
    near = difflib.get_close_matches(name, stacks, n=1, cutoff=0.5)
    raise RungwayError(
        f"stack '{name}': found no Pulumi.{name.rsplit('/', 1)[-1]}.yaml; allowed: {', '.join(stacks)}, or a path",
        hint=f"did you mean '{near[0]}'?" if near else "",
    )


def _stack_of(path: Path, root: Path) -> Stack:
    phase = path.name.removeprefix("Pulumi.").removesuffix(".yaml")
    if path.parent == root:
        name = phase
    elif path.parent.parent == root / "roadmaps":
        name = f"{path.parent.name}/{phase}"
    else:
        name = str(path)
    return Stack(name, phase, path)
