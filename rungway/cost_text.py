"""Says what a plan costs, by component and against its budget."""

from decimal import Decimal
from typing import Any

from rungway.cost import by_component, money_text, to_cents
from rungway.model import Money, Plan


def cost_text(plan: Plan) -> str:
    """A line a component, the sum, and the budget. Figures are a full month's, without VAT."""
    lines = [f"{name:<28}{money_text(cost):>16}" for name, cost in by_component(plan)]
    total = plan.monthly_cost or Money(Decimal(0), "EUR")
    lines.append(f"{'total a month':<28}{money_text(total):>16}")
    if plan.budget is not None:
        lines.append(f"{'budget':<28}{to_cents(plan.budget.amount):>12} {plan.budget.currency}")
    lines += [f"unknown price: {name}" for name in total.unknown]
    return "\n".join(lines)


def cost_json(plan: Plan) -> dict[str, Any]:
    """The same for programs: total, budget, and the components' costs."""
    from rungway.plan_json import plan_to_json

    document = plan_to_json(plan)
    components = [
        {"component": name, "amount": float(to_cents(cost.amount)), "currency": cost.currency, "unknown": list(cost.unknown)}
        for name, cost in by_component(plan)
    ]
    return {"stack": plan.stack, "monthly_cost": document["monthly_cost"], "budget": document["budget"], "components": components}
