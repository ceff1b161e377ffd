"""The memory and connection budgets of a stack's servers: sums that must fit before anything is built."""

from collections.abc import Iterable

from hosts.budgets import Budget, connection_budget, memory_budget, rollout_budget
from infra.host_specifications import host_specifications
from infra.problems import Problem
from infra.settings import Settings


def host_budgets(settings: Settings) -> list[Budget]:
    """Memory of every server, also while the application is rolled out, then connections of every database."""
    hosts = host_specifications(settings)
    return [
        *(budget for host in hosts for budget in (memory_budget(host), rollout_budget(host)) if budget),
        *(budget for host in hosts for budget in connection_budget(host)),
    ]


def overdrawn(budgets: Iterable[Budget]) -> list[Problem]:
    """A problem for every budget that promises more than there is."""
    return [
        Problem(
            budget.subject,
            f"{budget.used} {budget.unit} promised ({', '.join(f'{name} {share}' for name, share in budget.parts)})",
            f"{budget.available} {budget.unit}",
            "promise less, or take a larger server type",
        )
        for budget in budgets
        if budget.used > budget.available
    ]
