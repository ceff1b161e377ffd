"""A plan as text for people."""

from decimal import Decimal
from typing import Any

import pytest

from rungway.model import SECRET, UNKNOWN, Budget, Finding, HostBudget, Level, Money, Plan, Resource
from rungway.tree import plan_text

STACK = "urn:pulumi:mvp::rungway::pulumi:pulumi:Stack::rungway-mvp"
APP = "urn:pulumi:mvp::rungway::rungway:index:AppVPS::app-eu-1"
SERVER = "urn:pulumi:mvp::rungway::rungway:index:AppVPS$hcloud:index/server:Server::app-eu-1"
ADDRESS = "urn:pulumi:mvp::rungway::rungway:index:PublicAddress::app-eu-1-ipv4"
PRIMARY_IP = "urn:pulumi:mvp::rungway::rungway:index:PublicAddress$hcloud:index/primaryIp:PrimaryIp::app-eu-1-ipv4"


def resource(urn: str, parent: str | None, inputs: dict[str, Any] | None = None, **more: Any) -> Resource:
    type_, name = urn.split("::")[2].split("$")[-1], urn.split("::")[3]
    return Resource(urn, type_, name, parent, type_.startswith(("rungway:", "pulumi:pulumi:")), inputs or {}, **more)


def euros(amount: str, *unknown: str) -> Money:
    return Money(Decimal(amount), "EUR", unknown)


PLAN = Plan(
    stack="mvp",
    pulumi_stack="mvp",
    project="rungway",
    resources=(
        resource(STACK, None),
        resource(ADDRESS, STACK),
        resource(PRIMARY_IP, ADDRESS, {"type": "ipv4", "location": "nbg1"}, protect=True, monthly_cost=euros("0.5")),
        resource(APP, STACK),
        resource(
            SERVER,
            APP,
            {"serverType": "cx33", "location": "nbg1", "userData": SECRET, "image": UNKNOWN, "backups": True},
            monthly_cost=euros("6.49", "backups of app-eu-1"),
        ),
    ),
    findings=(
        Finding(Level.TO_SET, "to_set", "rungway:domain", "The zone's domain.", "pulumi config set rungway:domain example.com"),
        Finding(Level.ERROR, "input", SERVER, "labels.app: found 7; allowed: a string, because it is one of those that go on for long"),
        Finding(Level.WARNING, "retired", PRIMARY_IP, "soon gone"),
    ),
    host_budgets=(
        HostBudget("app-eu-1", "MiB", 7800, 8012, (("PostgreSQL", 2048), ("workers", 5964))),
        HostBudget("database-eu", "connections", 90, 45, ()),
    ),
    monthly_cost=euros("6.99", "backups of app-eu-1"),
    budget=Budget(Decimal("5"), "EUR"),
)

EXPECTED = """\
mvp  2 resources in 2 components, planned on this machine
├── app-eu-1-ipv4  PublicAddress                                                            0.50 EUR
│   └── app-eu-1-ipv4  hetzner PrimaryIp  ipv4 nbg1                ! warning  protected     0.50 EUR
└── app-eu-1  AppVPS                                                                        6.49 + ?
    └── app-eu-1  hetzner Server  cx33 nbg1                                     ✗ error     6.49 + ?

Cost a month  6.99 EUR  over the budget of 5.00 EUR
  price unknown, not included: backups of app-eu-1

Memory and connections
  app-eu-1       8012 of   7800 MiB          103 %
    PostgreSQL 2048, workers 5964
  database-eu      45 of     90 connections   50 %

Errors  1
  app-eu-1 (hcloud:index/server:Server): labels.app: found 7; allowed: a string, because it is one
    of those that go on for long

To be set  1
  rungway:domain: The zone's domain.
    pulumi config set rungway:domain example.com

Warnings  1
  app-eu-1-ipv4 (hcloud:index/primaryIp:PrimaryIp): soon gone
"""


def test_piped_text_is_plain_and_a_hundred_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COLUMNS", "40"), ("FORCE_COLOR", "1"), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)
    text = plan_text(PLAN)
    assert text == EXPECTED
    assert max(map(len, text.splitlines())) == 100


def test_a_terminal_gets_colour_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in plan_text(PLAN, terminal=True, width=100)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = plan_text(PLAN, terminal=True, width=100)
    assert "\x1b[3" not in plain
    assert "\x1b[9" not in plain


def test_a_narrow_terminal_cuts_rows_before_the_cost() -> None:
    lines = plan_text(PLAN, terminal=False, width=60).splitlines()
    assert max(map(len, lines)) == 60
    assert lines[2] == "│   └── app-eu-1-ipv4  h…  ! warning  protected     0.50 EUR"


def test_secrets_and_unknowns_are_not_shown_as_details() -> None:
    text = plan_text(PLAN)
    assert SECRET not in text
    assert UNKNOWN not in text


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(Decimal(7), "EUR"), "within the budget of 7.00 EUR"),
        (None, "no budget set"),
        (Budget(Decimal(7), "USD"), "Cost a month  6.99 EUR\n"),
    ],
)
def test_what_is_said_of_the_budget(budget: Budget | None, said: str) -> None:
    assert said in plan_text(Plan("mvp", "mvp", "rungway", (), monthly_cost=euros("6.99"), budget=budget))


def test_parents_need_not_be_listed_and_wide_names_fit() -> None:
    name = "日本語" * 30
    plan = Plan(
        "größe", "x", "rungway", (resource(f"urn:pulumi:x::rungway::hcloud:index/volume:Volume::{name}", STACK, monthly_cost=euros("1")),)
    )
    lines = plan_text(plan).splitlines()
    assert lines[0] == "größe  1 resource in 0 components, planned on this machine"
    assert lines[1].startswith("└── 日本語")
    assert lines[1].endswith("…     1.00 EUR") or lines[1].endswith("…      1.00 EUR")


def test_markup_in_names_is_text() -> None:
    plan = Plan("[red]x[/red]", "x", "rungway", (resource("urn:pulumi:x::rungway::hcloud:index/volume:Volume::a[bold]:smile:", None),))
    assert plan_text(plan).splitlines()[0].startswith("[red]x[/red]  1 resource")
    assert "a[bold]:smile:  hetzner Volume" in plan_text(plan)


def test_marks_stand_in_one_column_with_and_without_a_cost() -> None:
    network = resource("urn:pulumi:mvp::rungway::hcloud:index/network:Network::private-eu-central", STACK, protect=True)
    address = resource(PRIMARY_IP, STACK, protect=True, monthly_cost=euros("0.5"))
    first, second = plan_text(Plan("mvp", "mvp", "rungway", (network, address), monthly_cost=euros("0.5"))).splitlines()[1:3]
    assert first.index("protected") == second.index("protected")
    assert first.endswith("protected")


def test_an_empty_plan() -> None:
    assert plan_text(Plan("empty", "empty", "rungway", ())) == "empty  0 resources in 0 components, planned on this machine\n"
