"""What a diff says of each resource, and every guard that stands between a diff and somebody's data."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rungway.diff import diff, exit_code
from rungway.diff_text import diff_text
from rungway.model import SECRET, UNKNOWN, Action, Change, Diff, Finding, Level, Money, Plan, Resource

SERVER = "hcloud:index/server:Server"
SERVER_NETWORK = "hcloud:index/serverNetwork:ServerNetwork"
NETWORK = "hcloud:index/network:Network"
SUBNET = "hcloud:index/networkSubnet:NetworkSubnet"
VOLUME = "hcloud:index/volume:Volume"
ATTACHMENT = "hcloud:index/volumeAttachment:VolumeAttachment"
BUCKET = "cloudflare:index/r2Bucket:R2Bucket"
RECORD = "cloudflare:index/dnsRecord:DnsRecord"
STACK = "pulumi:pulumi:Stack"


def urn(type_: str, name: str, stack: str = "mvp") -> str:
    return f"urn:pulumi:{stack}::rungway::{type_}::{name}"


def resource(type_: str, name: str, inputs: dict[str, Any] | None = None, *, stack: str = "mvp", **options: Any) -> Resource:
    component = type_.startswith("rungway:") or type_ == STACK
    return Resource(urn(type_, name, stack), type_, name, None, component, inputs or {}, **options)


def plan(*resources: Resource, stack: str = "mvp", cost: Money | None = None) -> Plan:
    return Plan(stack, stack, "rungway", resources, monthly_cost=cost)


def only(result: Diff) -> Change:
    (change,) = result.changes
    return change


def compare(type_: str, was: dict[str, Any], becomes: dict[str, Any], **options: Any) -> Change:
    return only(diff(plan(resource(type_, "part", was, **options)), plan(resource(type_, "part", becomes, **options))))


def findings(result: Diff, code: str) -> list[Finding]:
    return [finding for finding in result.findings if finding.code == code]


# Matching


def test_a_plan_is_the_same_as_itself() -> None:
    server = resource(SERVER, "app-eu-1", {"serverType": "cx33", "userData": SECRET, "firewallIds": [UNKNOWN]})
    result = diff(plan(server), plan(server))
    assert (only(result).action, only(result).changed) == (Action.SAME, ())
    assert exit_code(result) == 0


def test_resources_are_matched_across_stacks_and_the_root_stack_with_them() -> None:
    before = plan(resource(STACK, "rungway-mvp"), resource(SERVER, "app-eu-1", {"serverType": "cx33"}))
    after = plan(
        resource(STACK, "rungway-phase2", stack="phase2"),
        resource(SERVER, "app-eu-1", {"serverType": "cx43"}, stack="phase2"),
        resource(SERVER, "database-eu-1", {}, stack="phase2"),
        stack="phase2",
    )
    result = diff(before, after)
    assert [(change.name, change.action, change.moved_from) for change in result.changes] == [
        ("rungway-phase2", Action.SAME, None),
        ("app-eu-1", Action.UPDATE, None),
        ("database-eu-1", Action.CREATE, None),
    ]
    assert result.changes[1].changed == ("serverType",)
    assert (result.before, result.after) == ("mvp", "phase2")


def test_what_is_gone_is_deleted_after_everything_else() -> None:
    result = diff(plan(resource(SERVER, "a"), resource(SERVER, "b"), resource(SERVER, "c")), plan(resource(SERVER, "b")))
    assert [(change.name, change.action) for change in result.changes] == [
        ("b", Action.SAME),
        ("a", Action.DELETE),
        ("c", Action.DELETE),
    ]


def test_an_alias_is_followed_and_the_old_urn_named() -> None:
    before = plan(resource(VOLUME, "old-name", {"size": 40}))
    after = plan(resource(VOLUME, "new-name", {"size": 40}, stack="phase2", aliases=(urn(VOLUME, "old-name", "phase2"),)), stack="phase2")
    change = only(diff(before, after))
    assert (change.action, change.name, change.moved_from) == (Action.SAME, "new-name", urn(VOLUME, "old-name"))
    assert exit_code(diff(before, after)) == 0


def test_a_resource_that_moved_under_another_parent_is_followed() -> None:
    chain = f"rungway:index:DatabaseVPS$rungway:index:DataVolume${VOLUME}"
    moved = dataclasses.replace(resource(VOLUME, "data", {"size": 40}), urn=urn(chain, "data"), aliases=(urn(VOLUME, "data"),))
    assert only(diff(plan(resource(VOLUME, "data", {"size": 40})), plan(moved))).action is Action.SAME


def test_without_the_alias_the_same_move_is_a_loss_of_data() -> None:
    moved = dataclasses.replace(resource(VOLUME, "data", {"size": 40}), urn=urn(f"rungway:index:DataVolume${VOLUME}", "data"))
    result = diff(plan(resource(VOLUME, "data", {"size": 40})), plan(moved))
    assert [change.action for change in result.changes] == [Action.CREATE, Action.DELETE]
    assert exit_code(result) == 3


def test_a_name_wins_over_an_alias_and_an_old_resource_is_used_once() -> None:
    before = plan(resource(VOLUME, "data"))
    greedy = resource(VOLUME, "other", aliases=(urn(VOLUME, "data"),))
    result = diff(before, plan(greedy, resource(VOLUME, "data")))
    assert [(change.name, change.action) for change in result.changes] == [("other", Action.CREATE), ("data", Action.SAME)]


# Values


@pytest.mark.parametrize(
    ("was", "becomes", "action", "changed"),
    [
        ({"size": 40}, {"size": 40.0}, Action.SAME, ()),
        ({"labels": {"app": "a"}}, {"labels": {"app": "b", "role": "c"}}, Action.UPDATE, ("labels.app", "labels.role")),
        ({"labels": None}, {}, Action.SAME, ()),
        ({"rules": [{"port": "22"}]}, {"rules": [{"port": "22"}, {"port": "443"}]}, Action.UPDATE, ("rules[1]",)),
        ({"rules": [{"port": "22"}]}, {"rules": [{"port": "2222"}]}, Action.UPDATE, ("rules[0].port",)),
        ({"backups": True}, {}, Action.UPDATE, ("backups",)),
        ({"backups": False}, {"backups": "false"}, Action.UPDATE, ("backups",)),
        ({"userData": SECRET}, {"userData": SECRET}, Action.SAME, ()),
    ],
)
def test_inputs_are_compared_as_values(was: dict[str, Any], becomes: dict[str, Any], action: Action, changed: tuple[str, ...]) -> None:
    change = compare(SERVER, was, becomes)
    assert (change.action, change.changed) == (action, changed)


@pytest.mark.parametrize(
    ("type_", "was", "becomes", "forced_by"),
    [
        (SERVER, {"location": "nbg1"}, {"location": "fsn1"}, ("location",)),
        (SERVER, {"userData": "a", "serverType": "cx33"}, {"userData": "b", "serverType": "cx43"}, ("userData",)),
        (SERVER, {"sshKeys": ["a"]}, {"sshKeys": ["a", "b"]}, ("sshKeys[1]",)),
        (SUBNET, {"ipRange": "10.0.0.0/16"}, {"ipRange": "10.1.0.0/16"}, ("ipRange",)),
        ("digitalocean:index/kubernetesCluster:KubernetesCluster", {"version": "1.36.1"}, {"version": "1.35.9"}, ("version",)),
    ],
)
def test_a_replacement_names_what_forces_it(type_: str, was: dict[str, Any], becomes: dict[str, Any], forced_by: tuple[str, ...]) -> None:
    change = compare(type_, was, becomes)
    assert (change.action, change.forced_by) == (Action.REPLACE, forced_by)


def test_a_raised_kubernetes_version_is_an_update() -> None:
    cluster = "digitalocean:index/kubernetesCluster:KubernetesCluster"
    assert compare(cluster, {"version": "1.35.9"}, {"version": "1.36.1"}).action is Action.UPDATE


@pytest.mark.parametrize(
    ("ignored", "was", "becomes"),
    [
        ("userData", {"userData": "a"}, {"userData": "b"}),
        ("userData", {"userData": "a"}, {}),
        ("userData", {}, {"userData": "b"}),
        ("labels.phase", {"labels": {"phase": "1", "app": "a"}}, {"labels": {"phase": "2", "app": "a"}}),
        ('labels["a.b"]', {"labels": {"a.b": "1"}}, {"labels": {"a.b": "2"}}),
        ("publicNets[0].ipv4", {"publicNets": [{"ipv4": 1}]}, {"publicNets": [{"ipv4": 2}]}),
        ("publicNets[*].ipv4", {"publicNets": [{"ipv4": 1}, {"ipv4": 3}]}, {"publicNets": [{"ipv4": 2}, {"ipv4": 4}]}),
        ("labels.*", {"labels": {"a": "1"}}, {"labels": {"a": "2", "b": "3"}}),
    ],
)
def test_ignored_changes_are_ignored(ignored: str, was: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert compare(SERVER, was, becomes, ignore_changes=(ignored,)).action is Action.SAME
    assert compare(SERVER, was, becomes).action is not Action.SAME


@pytest.mark.parametrize("ignored", ["labels.phase", "publicNets[3].ipv4", "missing.path[0]", "serverType.x"])
def test_an_ignored_path_hides_nothing_else(ignored: str) -> None:
    was = {"serverType": "cx33", "labels": {"app": "a"}, "publicNets": [{"ipv4": 1}]}
    becomes = {"serverType": "cx43", "labels": {"app": "b"}, "publicNets": [{"ipv4": 2}]}
    assert compare(SERVER, was, becomes, ignore_changes=(ignored,)).changed == ("labels.app", "publicNets[0].ipv4", "serverType")


def test_components_have_no_provider_to_change_anything() -> None:
    assert compare("rungway:index:AppVPS", {"a": 1}, {"a": 2}).action is Action.SAME


# Values that only a provider knows


def _network_and_server(location: str, **inputs: Any) -> list[Resource]:
    network = resource(NETWORK, "private", {"ipRange": "10.0.0.0/12"})
    server = resource(SERVER, "app-eu-1", {"location": location, "serverType": "cx33"})
    link = resource(
        SERVER_NETWORK,
        "app-eu-1-private",
        {"serverId": UNKNOWN, "networkId": UNKNOWN, **inputs},
        dependencies=tuple(sorted([network.urn, server.urn])),
    )
    return [network, server, link]


def test_unknown_on_both_sides_is_the_same() -> None:
    result = diff(plan(*_network_and_server("nbg1")), plan(*_network_and_server("nbg1")))
    assert {change.action for change in result.changes} == {Action.SAME}
    assert result.findings == ()


def test_a_replacement_takes_along_what_its_id_is_part_of_and_only_that_property() -> None:
    result = diff(plan(*_network_and_server("nbg1")), plan(*_network_and_server("fsn1")))
    assert [change.action for change in result.changes] == [Action.SAME, Action.REPLACE, Action.REPLACE]
    link = result.changes[2]
    assert (link.changed, link.forced_by) == (("serverId",), ("serverId (app-eu-1 is replaced)",))


def test_the_replacement_is_known_whatever_the_order_of_registration() -> None:
    result = diff(plan(*reversed(_network_and_server("nbg1"))), plan(*reversed(_network_and_server("fsn1"))))
    assert [change.action for change in result.changes] == [Action.REPLACE, Action.REPLACE, Action.SAME]


def test_an_input_that_no_dependency_is_named_for_may_come_from_any_of_them() -> None:
    def record(location: str) -> list[Resource]:
        server = resource(SERVER, "app-eu-1", {"location": location})
        return [server, resource(RECORD, "api-a-1", {"content": UNKNOWN}, dependencies=(server.urn,))]

    result = diff(plan(*record("nbg1")), plan(*record("fsn1")))
    assert (result.changes[1].action, result.changes[1].changed) == (Action.UPDATE, ("content",))


def test_a_value_that_now_comes_from_another_resource_is_an_update_and_says_that_it_is_a_guess() -> None:
    old, new = resource("hcloud:index/primaryIp:PrimaryIp", "app-eu-1-ipv4"), resource("hcloud:index/loadBalancer:LoadBalancer", "balancer")
    result = diff(
        plan(old, resource(RECORD, "api-a-1", {"content": UNKNOWN}, dependencies=(old.urn,))),
        plan(old, new, resource(RECORD, "api-a-1", {"content": UNKNOWN}, dependencies=(new.urn,))),
    )
    change = result.changes[2]
    assert (change.action, change.changed) == (Action.UPDATE, ("content",))
    assert findings(result, "value_unknown")[0].message == "content: can't be compared before deployment; counted as a change"


def test_one_more_dependency_alone_changes_nothing() -> None:
    before, after = _network_and_server("nbg1"), _network_and_server("nbg1")
    subnet = resource(SUBNET, "private-eu")
    after[2] = dataclasses.replace(after[2], dependencies=(*after[2].dependencies, subnet.urn))
    result = diff(plan(*before), plan(*after[:2], subnet, after[2]))
    assert [change.action for change in result.changes] == [Action.SAME, Action.SAME, Action.CREATE, Action.SAME]


def test_an_input_that_is_set_anew_is_a_change_though_its_value_is_unknown() -> None:
    firewall = resource("hcloud:index/firewall:Firewall", "app-eu")
    before = resource(SERVER, "app-eu-1", {}, dependencies=(firewall.urn,))
    after = resource(SERVER, "app-eu-1", {"firewallIds": [UNKNOWN]}, dependencies=(firewall.urn,))
    assert diff(plan(firewall, before), plan(firewall, after)).changes[1].changed == ("firewallIds",)


def test_a_known_id_of_a_state_is_the_unknown_one_of_a_plan() -> None:
    before, after = _network_and_server("nbg1", serverId=4711, networkId=12), _network_and_server("nbg1")
    assert {change.action for change in diff(plan(*before), plan(*after)).changes} == {Action.SAME}
    after = _network_and_server("fsn1")
    assert diff(plan(*before), plan(*after)).changes[2].forced_by == ("serverId (app-eu-1 is replaced)",)


@pytest.mark.parametrize(("was", "becomes"), [(UNKNOWN, "198.51.100.7"), ("198.51.100.7", UNKNOWN), (SECRET, "plain"), ("plain", SECRET)])
def test_what_cannot_be_compared_counts_as_changed_with_a_note(was: str, becomes: str) -> None:
    result = diff(plan(resource(RECORD, "api", {"content": was})), plan(resource(RECORD, "api", {"content": becomes})))
    assert (only(result).action, only(result).changed) == (Action.UPDATE, ("content",))
    assert len(findings(result, "value_unknown")) == 1


def test_secrets_on_both_sides_count_as_the_same_with_a_note() -> None:
    server = resource(SERVER, "app-eu-1", {"userData": SECRET, "labels": {"a": SECRET}})
    result = diff(plan(server), plan(server))
    assert only(result).action is Action.SAME
    (note,) = findings(result, "secrets_not_compared")
    assert note.message == "2 secret inputs are masked on both sides and count as the same"


# Guards


def test_data_that_would_be_replaced_is_an_error_and_exit_code_3() -> None:
    before, after = resource(VOLUME, "data", {"location": "nbg1", "size": 40}), resource(VOLUME, "data", {"location": "fsn1", "size": 40})
    result = diff(plan(before), plan(after))
    assert only(result).holds_data
    assert findings(result, "data_at_risk") == [
        Finding(
            Level.ERROR,
            "data_at_risk",
            before.urn,
            "data holds data and would be replaced, forced by location",
            f"keep it as it is, or confirm that its data may go: --allow '{before.urn}'",
        )
    ]
    assert exit_code(result) == 3


def test_data_that_would_be_deleted_is_an_error_and_exit_code_3() -> None:
    result = diff(plan(resource(BUCKET, "images")), plan())
    (finding,) = findings(result, "data_at_risk")
    assert finding.message == "images holds data and would be deleted"
    assert exit_code(result) == 3


def test_a_volume_that_only_grows_is_no_risk() -> None:
    result = diff(plan(resource(VOLUME, "data", {"size": 40})), plan(resource(VOLUME, "data", {"size": 80})))
    assert only(result).action is Action.UPDATE
    assert exit_code(result) == 0


def test_servers_and_attachments_are_disposable() -> None:
    result = diff(plan(resource(SERVER, "app"), resource(ATTACHMENT, "data-attachment")), plan())
    assert exit_code(result) == 0


@pytest.mark.parametrize("stack", ["mvp", "phase2"])
def test_the_very_urn_allows_it_under_its_old_or_new_name(stack: str) -> None:
    before = plan(resource(VOLUME, "data", {"location": "nbg1"}), resource(VOLUME, "other", {"location": "nbg1"}))
    after = plan(
        *(resource(VOLUME, name, {"location": "fsn1"}, stack="phase2") for name in ("data", "other")),
        stack="phase2",
    )
    one = diff(before, after, allowed={urn(VOLUME, "data", stack)})
    assert [finding.path for finding in findings(one, "data_at_risk")] == [urn(VOLUME, "other", "phase2")]
    assert exit_code(one) == 3
    both = diff(before, after, allowed={urn(VOLUME, "data", stack), urn(VOLUME, "other", stack)})
    assert exit_code(both) == 0


def test_a_misspelt_confirmation_confirms_nothing() -> None:
    result = diff(plan(resource(VOLUME, "database-eu-1-data")), plan(), allowed={urn(VOLUME, "database-eu-l-data")})
    assert findings(result, "allowed_urn_unknown") == [
        Finding(
            Level.ERROR,
            "allowed_urn_unknown",
            urn(VOLUME, "database-eu-l-data"),
            "allowed to be replaced or deleted, but neither side has this resource",
            f"did you mean {urn(VOLUME, 'database-eu-1-data')}?",
        )
    ]
    assert len(findings(result, "data_at_risk")) == 1


def test_a_confirmation_without_any_resource_is_an_error_of_its_own() -> None:
    result = diff(plan(), plan(), allowed={"data"})
    (finding,) = result.findings
    assert (finding.code, finding.action) == ("allowed_urn_unknown", "take the confirmation away")
    assert exit_code(result) == 3


def test_what_is_retained_leaves_the_stack_and_stays() -> None:
    result = diff(plan(resource(VOLUME, "data", retain_on_delete=True)), plan())
    assert exit_code(result) == 0
    (note,) = result.findings
    assert (note.level, note.message) == (Level.NOTE, "data leaves the stack and stays at the provider")


def test_a_retained_volume_that_is_replaced_starts_empty() -> None:
    before = resource(VOLUME, "data", {"location": "nbg1"}, retain_on_delete=True)
    assert exit_code(diff(plan(before), plan(resource(VOLUME, "data", {"location": "fsn1"}, retain_on_delete=True)))) == 3


@pytest.mark.parametrize(("was", "becomes"), [("cx33", "cax21"), ("cax21", "cx33")])
def test_a_change_of_architecture_in_place_is_refused(was: str, becomes: str) -> None:
    result = diff(plan(resource(SERVER, "app", {"serverType": was})), plan(resource(SERVER, "app", {"serverType": becomes})))
    (finding,) = findings(result, "architecture_change")
    names = {"cx33": "x86", "cax21": "ARM"}
    assert finding.level is Level.ERROR
    assert finding.message == (
        f"serverType: found {becomes} ({names[becomes]}) for a server that is {was} ({names[was]}); "
        "Hetzner can't rescale across architectures"
    )
    assert exit_code(result) == 3


def test_a_change_of_type_within_an_architecture_is_fine_and_reprices() -> None:
    result = diff(plan(resource(SERVER, "app", {"serverType": "cx33"})), plan(resource(SERVER, "app", {"serverType": "cpx32"})))
    assert findings(result, "architecture_change") == []
    assert len(findings(result, "reprices")) == 1
    assert exit_code(result) == 0


def test_taking_protection_from_data_is_a_warning_and_no_change() -> None:
    result = diff(plan(resource(VOLUME, "data", protect=True)), plan(resource(VOLUME, "data")))
    assert only(result).action is Action.SAME
    (warning,) = result.findings
    assert (warning.level, warning.message) == (Level.WARNING, "data holds data and would no longer be protected")


def test_the_engine_will_refuse_to_delete_what_is_protected() -> None:
    result = diff(plan(resource(NETWORK, "private", protect=True)), plan())
    (warning,) = findings(result, "protected")
    assert warning.message == "private is protected: the engine refuses to delete it"
    assert warning.action == f"keep it, or run pulumi state unprotect '{urn(NETWORK, 'private')}' first"


# Money


def _priced(amount: str, currency: str = "EUR", **options: Any) -> Resource:
    return resource(SERVER, "app-eu-1", {"serverType": "cx33"}, monthly_cost=Money(Decimal(amount), currency), **options)


def test_costs_are_shown_before_after_and_by_component() -> None:
    before = plan(_priced("8.49"), cost=Money(Decimal("8.49"), "EUR"))
    after = plan(_priced("15.99", stack="phase2"), stack="phase2", cost=Money(Decimal("15.99"), "EUR"))
    result = diff(before, after)
    assert (result.cost_before, result.cost_after) == (before.monthly_cost, after.monthly_cost)
    assert (only(result).cost_before, only(result).cost_after) == (Money(Decimal("8.49"), "EUR"), Money(Decimal("15.99"), "EUR"))
    assert result.cost_by_component == (("app-eu-1 (Server)", Money(Decimal("8.49"), "EUR"), Money(Decimal("15.99"), "EUR")),)


def test_the_earlier_side_is_shown_in_the_later_sides_currency() -> None:
    before = plan(_priced("10"), cost=Money(Decimal(10), "EUR"))
    result = diff(before, plan(_priced("12", "USD"), cost=Money(Decimal(12), "USD")))
    assert result.cost_before is not None
    assert result.cost_before.currency == "USD"
    assert Decimal(8) < result.cost_before.amount < Decimal(16)
    assert only(result).cost_before == result.cost_before


def test_a_side_without_prices_is_a_note() -> None:
    result = diff(plan(resource(SERVER, "app-eu-1")), plan(resource(SERVER, "app-eu-1"), cost=Money(Decimal(1), "EUR")))
    assert [finding.code for finding in result.findings] == ["cost_unknown"]


# Properties

_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["a", UNKNOWN, SECRET]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_inputs = st.dictionaries(st.sampled_from(["labels", "serverType", "location", "userData"]), _values, max_size=4)


@given(_inputs)
def test_any_resource_is_the_same_as_itself(inputs: dict[str, Any]) -> None:
    assert compare(SERVER, inputs, inputs).action is Action.SAME


@given(_inputs, _inputs)
def test_whatever_is_ignored_whole_never_changes_a_resource(was: dict[str, Any], becomes: dict[str, Any]) -> None:
    ignored = ("labels", "serverType", "location", "userData")
    assert compare(SERVER, was, becomes, ignore_changes=ignored).action is Action.SAME


@given(_inputs, _inputs)
def test_no_difference_is_lost(was: dict[str, Any], becomes: dict[str, Any]) -> None:
    known = _known(was), _known(becomes)
    assert (compare(SERVER, was, becomes).action is Action.SAME) == (known[0] == known[1])


def _known(value: Any) -> Any:
    """The value without nulls, which are as good as nothing; true and 1 kept apart by nobody."""
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items() if item is not None}
    return [_known(item) for item in value] if isinstance(value, list) else value


# Text


def _two_plans() -> Diff:
    before = plan(
        resource(SERVER, "app-eu-1", {"serverType": "cx33"}, monthly_cost=Money(Decimal("8.49"), "EUR")),
        resource(VOLUME, "data", {"location": "nbg1", "size": 40}, monthly_cost=Money(Decimal("2.288"), "EUR")),
        resource(NETWORK, "private", {}),
        resource(ATTACHMENT, "data-attachment", {}),
        cost=Money(Decimal("10.778"), "EUR"),
    )
    after = plan(
        resource(SERVER, "app-eu-1", {"serverType": "cx43"}, stack="phase2", monthly_cost=Money(Decimal("15.99"), "EUR")),
        resource(VOLUME, "data", {"location": "fsn1", "size": 40}, stack="phase2", monthly_cost=Money(Decimal("2.288"), "EUR")),
        resource(NETWORK, "private", {}, stack="phase2"),
        resource(SERVER, "redis-eu-1", {}, stack="phase2", monthly_cost=Money(Decimal(0), "EUR", ("redis-eu-1: server cx99",))),
        stack="phase2",
        cost=Money(Decimal("18.278"), "EUR", ("redis-eu-1: server cx99",)),
    )
    return diff(before, after)


def test_the_text_puts_data_first_then_changes_then_money() -> None:
    lines = diff_text(_two_plans(), terminal=False).splitlines()
    assert lines == [
        "mvp → phase2  1 created, 1 updated, 1 replaced, 1 deleted, 1 the same",
        "",
        "Data at risk  1",
        "  data (Volume): data holds data and would be replaced, forced by location",
        "    keep it as it is, or confirm that its data may go: --allow 'urn:pulumi:phase2::rungway::hcloud:index/volume:Volume::data'",
        "",
        "Replaced  1",
        "  ± data  hetzner Volume  holds data                                                            same",
        "      forced by location",
        "",
        "Deleted  1",
        "  - data-attachment  hetzner VolumeAttachment",
        "",
        "Updated in place  1",
        "  ~ app-eu-1  hetzner Server                                                                   +7.50",
        "      serverType",
        "",
        "Created  1",
        "  + redis-eu-1  hetzner Server                                                              0.00 + ?",
        "",
        "Cost a month                                                  10.78 EUR →  18.28 EUR + ?   +7.50 + ?",
        "  app-eu-1 (Server)                                            8.49 EUR →      15.99 EUR       +7.50",
        "  data (Volume)                                                2.29 EUR →       2.29 EUR        same",
        "  redis-eu-1 (Server)                                                 - →   0.00 EUR + ?    0.00 + ?",
        "  price unknown, not included: redis-eu-1: server cx99",
        "",
        "Notes  1",
        "  phase2: a rescaled Hetzner server gets today's list price; until then it keeps the one that it was",
        "    ordered at, which can be lower than shown here",
    ]


def test_the_text_has_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in diff_text(_two_plans(), terminal=False)
    assert "\x1b[" in diff_text(_two_plans(), terminal=True, width=100)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in diff_text(_two_plans(), terminal=True, width=100)


def test_nothing_to_compare_is_said() -> None:
    assert diff_text(diff(plan(), plan()), terminal=False) == "mvp → mvp  nothing on either side\n"
