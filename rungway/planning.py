"""Plans a stack on this machine: stack file → settings → the real Pulumi program under the recorder → checks, cost, findings."""

import dataclasses
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi

from rungway.errors import RungwayError
from rungway.model import Budget, Finding, HostBudget, Level, Plan, Resource
from rungway.stacks import Stack, find_stack, project_root

if TYPE_CHECKING:
    from infra.reading import Unset
    from infra.settings import Settings

PROJECT = "rungway"
"""Name of the Pulumi project (Pulumi.yaml), part of every URN."""


def plan_stack(name: str, *, engine: bool = False) -> Plan:
    """The plan of the stack called `name`: recorded on this machine, or with `engine` as the Pulumi engine previews it.

    Raises:
        RungwayError: no such stack, a stack file or settings with problems (all of them are listed), or no engine to ask.
    """
    root = project_root(Path.cwd())
    stack = find_stack(name, root)
    try:
        return _plan(stack, root, engine)
    except pulumi.RunError as error:
        raise RungwayError(str(error)) from error


def _plan(stack: Stack, root: Path, engine: bool) -> Plan:
    from infra.budgets import host_budgets, overdrawn
    from infra.reading import read_settings
    from infra.stack_file import engine_config, read_stack_file
    from rungway.cost import check_budget, price, usage_of
    from rungway.facts import check_inputs

    config, secret_keys = engine_config(read_stack_file(stack.path))
    settings, unset = read_settings(config, source=stack.name, require_user_values=False)
    if engine:
        from rungway.engine import preview

        resources, outputs = preview(stack, root, unset)
    else:
        resources, outputs = _record(stack, settings, config, secret_keys)
    budget, budgets = settings.budget, host_budgets(settings)
    plan = Plan(
        stack=stack.name,
        pulumi_stack=stack.pulumi_stack,
        project=PROJECT,
        resources=tuple(resources),
        outputs=outputs,
        findings=(
            *_findings_of_settings(settings, unset),
            *(finding for resource in resources for finding in check_inputs(resource)),
            *(
                Finding(Level.ERROR, "budget_overdrawn", item.path, f"found {item.found}; allowed: {item.allowed}", item.action)
                for item in overdrawn(budgets)
            ),
            *_scarce(settings),
            *_convergence(settings, unset),
        ),
        host_budgets=tuple(HostBudget(item.subject, item.unit, item.available, item.used, item.parts) for item in budgets),
        budget=Budget(Decimal(str(budget.monthly_amount)), budget.currency) if budget.monthly_amount else None,
        source="engine" if engine else "offline",
    )
    priced = price(plan, budget.currency, usage_of(settings))
    over = check_budget(priced)
    return dataclasses.replace(priced, findings=(*priced.findings, over)) if over else priced


def _record(
    stack: Stack, settings: "Settings", config: dict[str, str], secret_keys: Sequence[str]
) -> tuple[list[Resource], dict[str, object]]:
    """What the real program registers. The root stack is put back in its place above everything, as in the engine's own list."""
    from rungway.provider_packages import bare_provider_packages
    from rungway.recorder import record

    with bare_provider_packages():
        from infra.build import build_stack

        recording = record(lambda: build_stack(settings), project=PROJECT, stack=stack.pulumi_stack, config=config, secret_keys=secret_keys)
    name = f"{PROJECT}-{stack.pulumi_stack}"
    root = Resource(f"urn:pulumi:{stack.pulumi_stack}::{PROJECT}::pulumi:pulumi:Stack::{name}", "pulumi:pulumi:Stack", name, None, True, {})
    children = [dataclasses.replace(resource, parent=resource.parent or root.urn) for resource in recording.resources]
    return [root, *children], recording.outputs


def _findings_of_settings(settings: "Settings", unset: Sequence["Unset"]) -> list[Finding]:
    """What its user must still set, and what Rungway can't build yet."""
    from infra.unbuilt import unbuilt_parts

    return [
        *(Finding(Level.TO_SET, "to_set", item.path, item.description, item.command) for item in unset),
        *(
            Finding(
                Level.NOT_BUILT,
                "not_built",
                part.path,
                f"{part.part} is not built yet: {part.why}",
                "the rest of the phase is planned without it",
            )
            for part in unbuilt_parts(settings)
        ),
    ]


def _scarce(settings: "Settings") -> list[Finding]:
    """Server types that were sold out when the catalogue was made: whoever climbs should look before the day."""
    from infra.catalog import server_types
    from infra.roles import servers_of

    wanted: dict[str, list[str]] = {}
    for region in settings.regions:
        for server in servers_of(region):
            size = server_types(region.provider)[server.server_type]
            if size.scarce is not None:
                wanted.setdefault(f"{size.name} was listed but not orderable on {size.scarce}", []).append(server.name)
    return [
        Finding(Level.WARNING, "scarce", ", ".join(names), text, "look at the provider's console before the move, or take a cpx type")
        for text, names in wanted.items()
    ]


def _convergence(settings: "Settings", unset: Sequence["Unset"]) -> list[Finding]:
    """What `pulumi up` leaves undone on the servers, once it can run at all: until then there is more urgent news."""
    from infra.host_specifications import host_specifications

    hosts = host_specifications(settings)
    if unset or not hosts:
        return []
    if not settings.convergence.ssh_key_file:
        return [
            Finding(
                Level.WARNING,
                "not_converged",
                "rungway:convergence.ssh_key_file",
                "`pulumi up` builds the servers and leaves them empty until it knows a key to reach them with",
                "pulumi config set --path rungway:convergence.ssh_key_file '~/.ssh/id_ed25519'",
            )
        ]
    nodes = [host.name for host in hosts if host.role.startswith("kubernetes-")]
    text = "`pulumi up` builds these Kubernetes nodes and does not converge them"
    return [Finding(Level.WARNING, "not_converged", ", ".join(nodes), text, "install k3s on them by hand")] if nodes else []
