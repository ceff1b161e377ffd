"""A plan joins settings, program, checks, costs and budgets; and the program itself, run as the engine runs it, refuses what it must."""

from pathlib import Path

import pulumi
import pytest

from hosts import reachability
from hosts.reachability import Flow, ReachabilityError, firewall_rules
from infra.program import main
from infra.reading import read_settings
from infra.stack_file import engine_config, read_stack_file
from rungway import planning
from rungway.errors import RungwayError
from rungway.model import Finding, Level, Plan, Resource
from rungway.planning import plan_stack
from rungway.provider_packages import bare_provider_packages
from rungway.recorder import Recording, record
from rungway.stacks import find_stack

MINIMAL = """\
config:
  rungway:regions: [{name: eu, location: nbg1}]
  rungway:app: {servers: 1, server_type: cx33, data_volume_size_gb: 10}
  rungway:database: {placement: app_server, nodes: 1, max_connections: 200}
  rungway:edge: {enabled: false, tls: false}
"""


def _plan(folder: Path, text: str) -> Plan:
    path = folder / "Pulumi.test.yaml"
    path.write_text(text, encoding="utf-8")
    return plan_stack(str(path))


def _errors(plan: Plan) -> list[Finding]:
    return [finding for finding in plan.findings if finding.level is Level.ERROR]


def _run_program(config: dict[str, str]) -> Recording:
    with bare_provider_packages():
        return record(main, project="rungway", stack="test", config=config)


def test_the_root_stack_is_above_everything(in_project: Path) -> None:
    plan = plan_stack("mvp")

    root = plan.resources[0]
    assert root.urn == "urn:pulumi:mvp::rungway::pulumi:pulumi:Stack::rungway-mvp"
    assert root.parent is None
    assert all(resource.parent is not None for resource in plan.resources[1:])
    assert {resource.parent for resource in plan.resources if resource.type.startswith("rungway:")} >= {root.urn}


def test_more_connections_than_the_database_allows(tmp_path: Path) -> None:
    plan = _plan(tmp_path, MINIMAL.replace("cx33,", "cx33, database_pool_size: 40,"))

    assert [error.path for error in _errors(plan)] == ["app-eu-1 PostgreSQL"]
    assert _errors(plan)[0].message == "found 240 connections promised (application 240); allowed: 190 connections"


def test_more_memory_than_the_server_has(tmp_path: Path) -> None:
    plan = _plan(tmp_path, MINIMAL.replace("cx33,", "cx33, worker_memory_mb: 4000,"))

    assert [error.path for error in _errors(plan)] == ["app-eu-1", "app-eu-1 rollout"]
    assert "allowed: 8192 MiB" in _errors(plan)[0].message


def test_more_memory_than_the_server_has_during_a_rollout(tmp_path: Path) -> None:
    plan = _plan(tmp_path, MINIMAL.replace("cx33,", "cx33, worker_memory_mb: 600,"))

    assert [error.path for error in _errors(plan)] == ["app-eu-1 rollout"]
    assert "allowed: 9216 MiB" in _errors(plan)[0].message


def test_an_input_that_the_provider_would_refuse_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Resource(
        "urn:pulumi:test::rungway::hcloud:index/network:Network::n", "hcloud:index/network:Network", "n", None, False, {"ipRang": 1}
    )
    monkeypatch.setattr(planning, "_record", lambda *_: ([wrong], {}))

    messages = [error.message for error in _errors(_plan(tmp_path, MINIMAL))]
    assert any(message.startswith("ipRang:") for message in messages)


def test_a_server_type_that_was_sold_out_is_told(tmp_path: Path) -> None:
    plan = _plan(tmp_path, MINIMAL)

    assert [finding.message for finding in plan.findings if finding.code == "scarce"] == ["cx33 was listed but not orderable on 2026-09-10"]


def test_a_stack_without_servers_costs_nothing(in_project: Path) -> None:
    plan = plan_stack("global/phase0")

    assert [resource.type for resource in plan.resources] == ["pulumi:pulumi:Stack"]
    assert plan.monthly_cost is not None
    assert plan.monthly_cost.amount == 0


def test_the_program_needs_what_only_its_user_knows_and_registers_nothing(in_project: Path) -> None:
    config, _ = engine_config(read_stack_file(find_stack("mvp", in_project).path))

    with pytest.raises(pulumi.RunError) as refused:
        _run_program(config)

    text = str(refused.value)
    assert text.startswith("stack test: 5 problems in the settings:")
    assert text.count("run: pulumi config set") == 5


def test_the_program_builds_when_everything_is_set(in_project: Path) -> None:
    config, _ = engine_config(read_stack_file(find_stack("mvp", in_project).path))
    _, unset = read_settings(config, source="mvp", require_user_values=False)

    recording = _run_program(config | {item.path: item.placeholder for item in unset})

    assert recording.outputs["api_url"] == "https://api.example.com"
    assert recording.outputs["buckets"]["backups"]["secret_access_key"] == "[secret]"
    assert {"app-eu-1"} == set(recording.outputs["servers"])


def test_the_program_refuses_promises_that_do_not_fit(in_project: Path) -> None:
    config, _ = engine_config(read_stack_file(find_stack("mvp", in_project).path))
    _, unset = read_settings(config, source="mvp", require_user_values=False)
    config["rungway:redis"] = '{"placement": "app_server", "nodes": 1, "max_memory_mb": 8000}'

    with pytest.raises(pulumi.RunError, match=r"app-eu-1: found \d+ MiB promised \(.*Redis.*\); allowed: 8192 MiB"):
        _run_program(config | {item.path: item.placeholder for item in unset})


def test_the_program_refuses_what_is_not_built(in_project: Path) -> None:
    config, _ = engine_config(read_stack_file(find_stack("serverless/phase1", in_project).path))
    _, unset = read_settings(config, source="serverless/phase1", require_user_values=False)

    with pytest.raises(pulumi.RunError, match="autoscaled containers is not built yet"):
        _run_program(config | {item.path: item.placeholder for item in unset})


def test_a_store_that_somebody_opens_to_the_public_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "flows", lambda role: iter([Flow(role, reachability.EDGE, "tcp", "5432", "a mistake")]))

    with pytest.raises(ReachabilityError, match=r"port 5432 \(a mistake\): found source 173\.245\.48\.0/20; allowed: private networks"):
        firewall_rules(
            "database", private_cidrs=["10.0.0.0/12"], admin_cidrs=[], jump_host=False, behind_cloudflare=True, behind_load_balancer=False
        )


def test_problems_of_a_stack_file_reach_the_user_as_one_error(tmp_path: Path) -> None:
    with pytest.raises(RungwayError) as refused:
        _plan(tmp_path, MINIMAL.replace("cx33", "cx333").replace("nbg1", "nbg9"))

    assert str(refused.value).count("  - ") == 2


READY = (
    MINIMAL
    + """\
  rungway:ssh_public_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA somebody]
  rungway:admin_cidrs: [198.51.100.7/32]
"""
)


def _not_converged(plan: Plan) -> list[Finding]:
    return [finding for finding in plan.findings if finding.code == "not_converged"]


def test_servers_that_stay_empty_are_one_warning_with_the_command_that_ends_it(tmp_path: Path) -> None:
    (warning,) = _not_converged(_plan(tmp_path, READY))

    assert (warning.level, warning.path) == (Level.WARNING, "rungway:convergence.ssh_key_file")
    assert warning.action == "pulumi config set --path rungway:convergence.ssh_key_file '~/.ssh/id_ed25519'"


def test_servers_that_converge_are_no_news_and_neither_are_those_of_a_stack_that_is_not_ready(tmp_path: Path) -> None:
    assert _not_converged(_plan(tmp_path, MINIMAL)) == []
    plan = _plan(tmp_path, READY + "  rungway:convergence: {ssh_key_file: ~/.ssh/id_ed25519}\n")
    assert _not_converged(plan) == []
    assert [resource.name for resource in plan.resources if resource.type == "command:local:Command"] == ["app-eu-1-configuration"]
    assert _errors(plan) == []


def test_kubernetes_nodes_are_built_and_not_converged(tmp_path: Path) -> None:
    kubernetes = "{enabled: true, control_server_type: cx23, pools: [{name: app, server_type: cx33, nodes_min: 1, nodes_max: 1}]}"
    text = READY + f"  rungway:kubernetes: {kubernetes}\n  rungway:convergence: {{ssh_key_file: /key}}\n"
    (warning,) = _not_converged(_plan(tmp_path, text))

    assert warning.path == "kubernetes-eu-control-1, kubernetes-eu-app-1"
