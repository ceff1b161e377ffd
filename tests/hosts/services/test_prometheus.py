"""Prometheus: whom it asks, what it keeps, and that each alert fires when it should and only then (with promtool, on the real rules)."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hosts.configuration import HostFile
from hosts.services.prometheus import monitor_of, prometheus, watched
from hosts.services.redis import SAVE_EVERY_SECONDS
from hosts.specification import HostSpecification, Peer
from tests.support.debian_root import Command, DebianRoot, Step
from tests.support.monitored_hosts import (
    APP_PEER,
    APPLICATION,
    DATABASE_PEER,
    MONITORING,
    MONITORING_PEER,
    POSTGRESQL,
    REDIS,
    REDIS_PEER,
    content,
    host,
    monitoring_host,
    service_of,
)

RULE_TESTS = sorted((Path(__file__).parents[1] / "prometheus_rules").glob("*.yml"))
OTHER_APP = Peer("app-us-1", "app", "10.1.1.10", "us", services=("application",))
OTHER_DATABASE = Peer("database-us-1", "database", "10.1.2.10", "us", services=("postgresql",))
OTHER_MONITORING = Peer("monitoring-us-1", "monitoring", "10.1.4.10", "us", services=("monitoring",))


def _yaml(text: str) -> Any:
    return YAML(typ="safe").load(text)


def _jobs(specification: HostSpecification) -> dict[str, list[Any]]:
    """The targets of each scrape job."""
    configuration = _yaml(content(service_of(prometheus, specification), "/etc/prometheus/prometheus.yml"))
    return {
        job["job_name"]: [target for group in job["static_configs"] for target in group["targets"]]
        for job in configuration["scrape_configs"]
    }


def _rules(specification: HostSpecification) -> dict[str, str]:
    files = service_of(prometheus, specification).files
    return {Path(file.path).name: file.content for file in files if "/rules/" in file.path}


def test_only_a_monitoring_server_has_it() -> None:
    assert prometheus(host(APP_PEER)) is None


def test_every_server_is_asked_for_what_runs_on_it() -> None:
    assert _jobs(monitoring_host()) == {
        "node": ["10.0.4.10:9100", "10.0.1.10:9100", "10.0.2.10:9100", "10.0.3.10:9100"],
        "nginx": ["10.0.1.10:9113"],
        "requests": ["10.0.1.10:3903"],
        "postgresql": ["10.0.2.10:9187"],
        "patroni": ["10.0.2.10:8008"],
        "pgbouncer": ["10.0.2.10:9127"],
        "redis": ["10.0.3.10:9121"],
        "prometheus": ["127.0.0.1:9090"],
        "alertmanager": ["127.0.0.1:9093"],
        "health": ["https://api.example.com/health"],
    }


def test_stores_beside_the_application_are_asked_there() -> None:
    everything = Peer("app-eu-1", "app", None, "eu", services=("application", "postgresql", "redis"))

    jobs = _jobs(monitoring_host(peers=(everything,)))

    assert (jobs["postgresql"], jobs["redis"]) == (["${address:app-eu-1}:9187"], ["${address:app-eu-1}:9121"])
    assert not {"pgbouncer", "patroni"} & set(jobs)


def test_patroni_is_asked_over_tls_where_database_servers_vote_and_not_on_their_witness() -> None:
    witness = monitoring_host(etcd=True, postgresql=None)
    alone = Peer("database-eu-1", "database", "10.0.2.10", "eu", services=("postgresql",))

    configuration = _yaml(content(service_of(prometheus, witness), "/etc/prometheus/prometheus.yml"))
    (job,) = (job for job in configuration["scrape_configs"] if job["job_name"] == "patroni")

    assert (job["scheme"], job["tls_config"]) == ("https", {"ca_file": "/etc/rungway/tls/authority.crt"})
    assert [group["targets"] for group in job["static_configs"]] == [["10.0.2.10:8008"]]
    assert [other["job_name"] for other in configuration["scrape_configs"] if "scheme" in other] == ["patroni"]
    assert "patroni.yml" not in _rules(monitoring_host(peers=(alone,)))


def test_a_single_server_watches_itself_and_all_that_is_on_it() -> None:
    single = host(APP_PEER, application=APPLICATION, postgresql=POSTGRESQL, redis=REDIS, monitoring=MONITORING)

    jobs = _jobs(single)

    assert {name: jobs[name] for name in ("node", "nginx", "requests", "postgresql", "redis")} == {
        "node": ["10.0.1.10:9100"],
        "nginx": ["10.0.1.10:9113"],
        "requests": ["10.0.1.10:3903"],
        "postgresql": ["10.0.1.10:9187"],
        "redis": ["10.0.1.10:9121"],
    }
    assert "role: app" in content(service_of(prometheus, single), "/etc/prometheus/prometheus.yml").split("job_name: alertmanager")[1]


def test_a_target_says_which_server_it_is() -> None:
    configuration = _yaml(content(service_of(prometheus, monitoring_host()), "/etc/prometheus/prometheus.yml"))
    (nginx,) = next(job["static_configs"] for job in configuration["scrape_configs"] if job["job_name"] == "nginx")

    assert nginx["labels"] == {"server": "app-eu-1", "role": "app", "region": "eu"}


def test_a_region_with_a_monitoring_server_of_its_own_is_left_to_it() -> None:
    alone = monitoring_host(peers=(APP_PEER, OTHER_APP))
    beside = monitoring_host(peers=(APP_PEER, OTHER_APP, OTHER_MONITORING))

    assert [server.name for server in watched(alone)] == ["monitoring-eu-1", "app-eu-1", "app-us-1"]
    assert [server.name for server in watched(beside)] == ["monitoring-eu-1", "app-eu-1"]


def test_a_region_without_a_monitoring_server_has_the_stacks_first() -> None:
    assert monitor_of("us", (OTHER_APP, OTHER_MONITORING, MONITORING_PEER)) == OTHER_MONITORING
    assert monitor_of("asia", (OTHER_MONITORING, MONITORING_PEER)) == MONITORING_PEER
    assert monitor_of("eu", (APP_PEER,)) is None


def test_it_listens_on_loopback_and_keeps_its_data_on_the_volume_for_as_long_as_the_settings_say() -> None:
    arguments = content(service_of(prometheus, monitoring_host()), "/etc/default/prometheus")

    assert arguments == (
        'ARGS="--web.listen-address=127.0.0.1:9090 --storage.tsdb.path=/srv/data/prometheus --storage.tsdb.retention.time=30d"\n'
    )


def test_without_a_volume_the_data_is_where_the_package_keeps_it() -> None:
    service = service_of(prometheus, monitoring_host(data_mount=None))

    assert "--storage.tsdb.path=/var/lib/prometheus/metrics2 " in content(service, "/etc/default/prometheus")
    assert "ReadWritePaths=/var/lib/prometheus/metrics2\n" in content(service, "/etc/systemd/system/prometheus.service.d/rungway.conf")


def test_there_are_rules_for_what_is_watched_and_none_for_what_is_not() -> None:
    service = service_of(prometheus, monitoring_host(peers=(APP_PEER, REDIS_PEER)))

    assert set(_rules(monitoring_host(peers=(APP_PEER, REDIS_PEER)))) == {"servers.yml", "requests.yml", "redis.yml", "backups.yml"}
    assert service.absent == ("/etc/prometheus/rules/postgresql.yml", "/etc/prometheus/rules/patroni.yml")


def test_snapshots_of_redis_are_missed_where_there_is_one() -> None:
    assert "RedisSnapshotMissing" in _rules(monitoring_host())["backups.yml"]
    assert "RedisSnapshot" not in _rules(monitoring_host(peers=(DATABASE_PEER,)))["backups.yml"]


def test_redis_is_late_with_a_save_after_twice_the_time_between_two() -> None:
    assert f"> {2 * SAVE_EVERY_SECONDS} and" in _rules(monitoring_host())["redis.yml"]


def test_a_standbys_newest_transaction_has_an_age_only_where_heartbeats_are_written() -> None:
    unsaved = dataclasses.replace(MONITORING, backup_every_hours=0)

    assert "PostgresqlStandbyStale" in _rules(monitoring_host(region="us", peers=(OTHER_DATABASE, MONITORING_PEER)))["postgresql.yml"]
    assert "PostgresqlStandbyStale" not in _rules(monitoring_host(monitoring=unsaved))["postgresql.yml"]


def test_only_who_watches_the_primary_region_misses_its_primary() -> None:
    own = _rules(monitoring_host())
    other = _rules(monitoring_host(region="us", peers=(OTHER_DATABASE, DATABASE_PEER, MONITORING_PEER)))

    assert "PostgresqlNoPrimary" in own["postgresql.yml"]
    assert "PostgresqlNoPrimary" not in other["postgresql.yml"]
    assert "expr: count(pg_replication_is_replica == 0) > 0" in other["postgresql.yml"]
    assert "backups.yml" not in other


def _alerts() -> set[tuple[str, str]]:
    groups = [group for text in _rules(monitoring_host()).values() for group in _yaml(text)["groups"]]
    return {(rule["alert"], rule["labels"]["severity"]) for group in groups for rule in group["rules"] if "alert" in rule}


def _firing() -> str:
    """What the rule tests expect to fire, as text."""
    tests = [test for path in RULE_TESTS for test in _yaml(path.read_text())["tests"]]
    return "\n".join(sample["labels"] for test in tests for case in test["promql_expr_test"] for sample in case["exp_samples"])


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    shown = _firing()

    missing = {(name, severity) for name, severity in _alerts() if f'alertname="{name}", severity="{severity}"' not in shown}

    assert missing == set()


def test_every_file_of_rules_has_a_healthy_case_in_which_nothing_fires() -> None:
    quiet = {
        rules
        for path in RULE_TESTS
        for document in [_yaml(path.read_text())]
        for rules in document["rule_files"]
        if any(not case["exp_samples"] and case["expr"].startswith("count") for case in document["tests"][0]["promql_expr_test"])
    }

    assert quiet == {f"rules/{name}" for name in _rules(monitoring_host())}


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path, debian_root: DebianRoot) -> None:
    rules = [HostFile(path=f"/srv/tried/rules/{name}", content=text) for name, text in _rules(monitoring_host()).items()]
    tried = HostFile(path=f"/srv/tried/{path.name}", content=path.read_text())

    (answer,) = debian_root.run(
        [Step(files=(*rules, tried), commands=(Command("try", f"cd /srv/tried; promtool test rules {path.name}"),))]
    )

    assert answer.code == 0, answer.said


def test_a_case_that_does_not_hold_is_noticed(debian_root: DebianRoot) -> None:
    """By promtool: an alert that stays silent although it should fire."""
    rules = [HostFile(path=f"/srv/tried/rules/{name}", content=text) for name, text in _rules(monitoring_host()).items()]
    path = next(path for path in RULE_TESTS if path.stem == "servers")
    silent = re.sub(r"values: .*", "values: _x60", path.read_text())
    tried = HostFile(path="/srv/tried/silent.yml", content=silent)

    answer = debian_root.try_script([*rules, tried], "cd /srv/tried; promtool test rules silent.yml")

    assert answer.code != 0
    assert "got: nil" in answer.said


def test_prometheus_accepts_its_configuration(debian_root: DebianRoot) -> None:
    service = service_of(prometheus, monitoring_host())
    command = Command("check", "promtool check config /etc/prometheus/prometheus.yml")

    (answer,) = debian_root.run([Step(service.accounts, service.directories, service.files, (command,))])

    assert answer.code == 0, answer.said
    assert "6 rule files found" in answer.said
