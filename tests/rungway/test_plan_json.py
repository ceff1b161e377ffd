"""The documented JSON form of plans and diffs: complete, valid, and back again."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import rungway
from hosts.converge import request
from rungway import drill
from rungway.advise import Advice, Reason, Step, Verdict, advice_json
from rungway.cost_text import cost_json
from rungway.drift import Drift, drift_json
from rungway.drill import Drill, drill_json
from rungway.model import (
    SECRET,
    UNKNOWN,
    Action,
    Budget,
    Change,
    Diff,
    Finding,
    HostBudget,
    Level,
    Money,
    Plan,
    Resource,
)
from rungway.plan_json import PlanFormatError, diff_to_json, plan_from_json, plan_to_json
from rungway.rehearsal import report
from rungway.rehearsal.report import report_json

SCHEMA = json.loads((Path(rungway.__file__).parent / "plan.schema.json").read_text())

COMPONENT = Resource("urn:pulumi:mvp::rungway::rungway:index:AppVPS::app-eu-1", "rungway:index:AppVPS", "app-eu-1", None, True, {})
SERVER = Resource(
    urn="urn:pulumi:mvp::rungway::rungway:index:AppVPS$hcloud:index/server:Server::app-eu-1",
    type="hcloud:index/server:Server",
    name="app-eu-1",
    parent=COMPONENT.urn,
    component=False,
    inputs={"serverType": "cx33", "userData": SECRET, "sshKeys": [UNKNOWN], "labels": {"app": "größe"}},
    protect=True,
    ignore_changes=("userData", "sshKeys"),
    aliases=("urn:pulumi:mvp::rungway::hcloud:index/server:Server::web-1",),
    dependencies=("urn:pulumi:mvp::rungway::hcloud:index/network:Network::private-eu-central",),
    delete_before_replace=True,
    retain_on_delete=True,
    monthly_cost=Money(Decimal("7.994999"), "EUR", ("traffic",)),
)
PLAN = Plan(
    stack="vps/mvp",
    pulumi_stack="mvp",
    project="rungway",
    resources=(COMPONENT, SERVER),
    outputs={"servers": {"app-eu-1": UNKNOWN}},
    findings=(Finding(Level.TO_SET, "to_set", "rungway:domain", "The zone's domain.", "pulumi config set rungway:domain example.com"),),
    host_budgets=(HostBudget("app-eu-1", "MiB", 7800, 6012, (("PostgreSQL", 2048), ("workers", 3964))),),
    monthly_cost=Money(Decimal("19.9"), "EUR"),
    budget=Budget(Decimal("20"), "EUR"),
)
DIFF = Diff(
    before="mvp",
    after="phase2",
    changes=(
        Change(SERVER.urn, Action.UPDATE, SERVER.type, SERVER.name, ("serverType",), cost_before=Money(Decimal("7.99"), "EUR")),
        Change(
            urn="urn:pulumi:phase2::rungway::hcloud:index/volume:Volume::data",
            action=Action.REPLACE,
            type="hcloud:index/volume:Volume",
            name="data",
            changed=("location", "size"),
            forced_by=("location",),
            holds_data=True,
            moved_from="urn:pulumi:mvp::rungway::hcloud:index/volume:Volume::old-data",
        ),
    ),
    findings=(Finding(Level.ERROR, "data-at-risk", SERVER.urn, "would be replaced"),),
    cost_before=Money(Decimal("7.99"), "EUR"),
    cost_after=Money(Decimal("30"), "EUR", ("Workers",)),
    cost_by_component=(("app-eu-1", Money(Decimal("7.99"), "EUR"), None),),
)


def valid(document: Any, kind: str) -> bool:
    schema = {**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{kind}"}]}
    return not list(jsonschema.Draft202012Validator(schema).iter_errors(json.loads(json.dumps(document))))


def keys(document: Any, definition: dict[str, Any]) -> None:
    """What is written is what the schema describes, no more and no less, and all of it is required."""
    assert list(document) == list(definition["required"])
    assert set(definition["required"]) == set(definition["properties"])


def test_documents_are_valid() -> None:
    assert valid(plan_to_json(PLAN), "plan")
    assert valid(plan_to_json(Plan("mvp", "mvp", "rungway", ())), "plan")
    assert valid(diff_to_json(DIFF), "diff")
    assert not valid(plan_to_json(PLAN), "diff")
    assert not valid(diff_to_json(DIFF), "plan")


def test_documents_have_exactly_the_documented_fields() -> None:
    definitions = SCHEMA["$defs"]
    plan, diff = plan_to_json(PLAN), diff_to_json(DIFF)
    keys(plan, definitions["plan"])
    keys(plan["resources"][1], definitions["resource"])
    keys(plan["findings"][0], definitions["finding"])
    keys(plan["host_budgets"][0], definitions["host_budget"])
    keys(diff, definitions["diff"])
    keys(diff["changes"][0], definitions["change"])
    documented = (Path(__file__).resolve().parents[2] / "docs" / "plan-json.md").read_text()
    for name in ("plan", "resource", "finding", "host_budget", "diff", "change"):
        assert all(f"`{field}`" in documented for field in definitions[name]["properties"]), name


def _fields(document: object) -> set[str]:
    """Every key of a document, however deep."""
    if isinstance(document, dict):
        return {*document, *(field for value in document.values() for field in _fields(value))}
    return {field for item in document for field in _fields(item)} if isinstance(document, (list, tuple)) else set()


MONEY = Money(Decimal(1), "EUR")


@pytest.mark.parametrize(
    ("command", "document"),
    [
        ("cost", cost_json(PLAN)),
        (
            "advise",
            advice_json(Advice("mvp", 7, Verdict.TUNE, (Reason("CPU", 1, 1, "%", 1, 1, "more"),), (), Step("phase2", MONEY, MONEY))),
        ),
        ("drift", drift_json([Drift("app-eu-1", (("nginx", request.Change(kind="file", name="/a")),), 0, {})])),
        ("drill", drill_json(Drill("database-eu-1", "", "", True, (drill.Check("a", True, 1, 1, "s", ""),)))),
        ("rehearse", report_json("mvp", 1, [report.Check("a", True)])),
    ],
)
def test_the_other_commands_have_exactly_the_documented_fields(command: str, document: dict[str, Any]) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "plan-json.md").read_text()
    (row,) = re.findall(rf"^\| `{command}` \| (.*) \|$", page, re.M)
    values = {"stay", "tune", "climb", "no data", "null"}

    assert set(re.findall("`([^`]*)`", row)) - values == _fields(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["stack"], None),
        (["monthly_cost", "amount"], "19.90"),
        (["monthly_cost", "unknown"], None),
        (["resources", 1, "urn"], "app-eu-1"),
        (["resources", 1, "inputs"], []),
        (["resources", 1, "monthly_cost"], 7.99),
        (["findings", 0, "level"], "fatal"),
        (["host_budgets", 0, "used"], 1.5),
        (["format_version"], 2),
    ],
)
def test_the_schema_and_the_reader_refuse_what_is_not_in_the_form(path: list[Any], value: Any) -> None:
    document = plan_to_json(PLAN)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert not valid(document, "plan")
    if path[-1] != "urn":
        with pytest.raises(PlanFormatError):
            plan_from_json(document)


def test_amounts_are_numbers_of_two_decimals() -> None:
    document = plan_to_json(PLAN)
    assert document["monthly_cost"] == {"amount": 19.9, "currency": "EUR", "unknown": []}
    assert document["budget"] == {"amount": 20.0, "currency": "EUR"}
    assert document["resources"][1]["monthly_cost"] == {"amount": 7.99, "currency": "EUR", "unknown": ["traffic"]}
    assert json.dumps(document["resources"][1]["monthly_cost"]["amount"]) == "7.99"


def test_a_plan_comes_back_as_it_was() -> None:
    text = json.dumps(plan_to_json(PLAN))
    again = plan_from_json(json.loads(text))
    assert json.dumps(plan_to_json(again)) == text
    assert again.resources[0] == COMPONENT
    assert again.resources[1].monthly_cost == Money(Decimal("7.99"), "EUR", ("traffic",))
    assert (again.findings, again.host_budgets, again.outputs) == (PLAN.findings, PLAN.host_budgets, PLAN.outputs)


def test_fields_of_a_later_version_are_ignored() -> None:
    document = plan_to_json(PLAN)
    document["news"] = True
    document["resources"][0]["news"] = {}
    assert plan_from_json(document) == plan_from_json(plan_to_json(PLAN))
    assert valid(document, "plan")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "plan: found a list; allowed: an object"),
        ({}, "format_version: found nothing; allowed: an integer"),
        ({"format_version": 2}, "format_version: found 2; allowed: 1; a newer Rungway wrote this plan"),
        ({**plan_to_json(PLAN), "resources": [7]}, "resources[0]: found 7; allowed: an object"),
        ({**plan_to_json(PLAN), "resources": [{"urn": 7}]}, "resources[0].urn: found 7; allowed: a string"),
        (
            {**plan_to_json(PLAN), "findings": [{"level": "bad"}]},
            'findings[0].level: found "bad"; allowed: error, not_built, to_set, warning, note',
        ),
        ({**plan_to_json(PLAN), "monthly_cost": {"amount": True}}, "monthly_cost.amount: found true; allowed: a number"),
    ],
)  # fmt: skip
def test_errors_name_the_path(document: Any, message: str) -> None:
    with pytest.raises(PlanFormatError) as caught:
        plan_from_json(document)
    assert str(caught.value) == message
