"""Sentinel: a majority of the region's servers, TLS alone, and a state that a convergence never takes back."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hosts.configuration import Service
from hosts.services.redis import CLI as REDIS_CLI
from hosts.services.sentinel import CLI, sentinel
from hosts.specification import HostSpecification, Peer, RedisService

STATE_FILE = "/srv/data/redis/sentinel-state.conf"


def _peers(count: int, region: str = "eu") -> tuple[Peer, ...]:
    return tuple(
        Peer(f"redis-{region}-{number}", "redis", f"10.0.3.{9 + number}", region=region, services=("redis",))
        for number in range(1, count + 1)
    )


def _host(peers: tuple[Peer, ...], **changes: Any) -> HostSpecification:
    arguments: dict[str, Any] = {
        "name": "redis-eu-3",
        "role": "redis",
        "provider": "hetzner",
        "location": "nbg1",
        "region": "eu",
        "cores": 2,
        "memory_mb": 4096,
        "disk_gb": 40,
        "architecture": "x86",
        "private_address": "10.0.3.12",
        "public": False,
        "jump_host": "monitoring-eu-1",
        "data_mount": "/srv/data",
        "redis": RedisService(max_memory_mb=512, eviction_policy="allkeys-lru", primary=False, sentinel=True),
        "peers": peers,
    }
    return HostSpecification(**(arguments | changes))


def _service(peers: tuple[Peer, ...] = (), **changes: Any) -> Service:
    service = sentinel(_host(peers or _peers(2), **changes))
    assert service
    return service


def _file(service: Service, path: str) -> str:
    return next(file.content for file in service.files if file.path == path)


def test_it_runs_only_where_it_is_wanted() -> None:
    alone = RedisService(max_memory_mb=512, eviction_policy="allkeys-lru", primary=True, sentinel=False)
    assert sentinel(_host(_peers(2), redis=alone)) is None
    assert sentinel(_host(_peers(2), redis=None)) is None


def test_it_is_reached_over_tls_with_a_password() -> None:
    lines = set(_file(_service(), "/etc/redis/sentinel.conf").splitlines())
    assert {"bind 127.0.0.1 10.0.3.12", "port 0", "tls-port 26379", "tls-replication yes", "requirepass ${secret:redis-sentinel}"} <= lines


def test_it_knows_redis_by_a_user_and_the_others_by_the_password() -> None:
    lines = set(_file(_service(), "/etc/redis/sentinel.conf").splitlines())
    assert {
        "sentinel auth-user main sentinel",
        "sentinel auth-pass main ${secret:redis-sentinel}",
        "sentinel sentinel-pass ${secret:redis-sentinel}",
        "sentinel announce-ip 10.0.3.12",
    } <= lines


def test_a_switch_begins_after_three_seconds_of_silence_and_is_tried_again_after_twenty() -> None:
    text = _file(_service(), "/etc/redis/sentinel.conf")
    assert "\nsentinel down-after-milliseconds main 3000\n" in text
    assert "\nsentinel failover-timeout main 10000\n" in text


def test_what_sentinel_learns_is_in_no_file_of_ours() -> None:
    service = _service()
    assert "sentinel monitor" not in _file(service, "/etc/redis/sentinel.conf")
    assert STATE_FILE not in [file.path for file in service.files]
    unit = _file(service, "/etc/systemd/system/redis-sentinel.service.d/rungway.conf")
    assert f"ExecStart=\nExecStart=/usr/bin/redis-sentinel {STATE_FILE} --include /etc/redis/sentinel.conf " in unit


def test_replicas_are_heard_often_enough_to_be_electable_at_any_time() -> None:
    unit = _file(_service(), "/etc/systemd/system/redis-sentinel.service.d/rungway.conf")
    assert "ExecStartPost=+/usr/local/sbin/rungway-sentinel-cli -e sentinel debug info-period 2000\n" in unit
    # With a PID file that nobody writes, a start with ExecStartPost never ends.
    assert "PIDFile=\n" in unit


def test_passwords_are_in_files_that_few_read() -> None:
    service = _service()
    found = {file.path: (file.mode, file.group) for file in service.files if file.is_secret}
    assert found == {"/etc/redis/sentinel.conf": (0o640, "redis"), "/etc/rungway/sentinel.env": (0o600, "root")}
    texts = [service.probe, *service.checks, *(text for task in service.before + service.after for text in (task.unless, task.script))]
    assert not any("${secret:" in text for text in texts)


def _run(text: str, tmp_path: Path, answers: str, replication: str = "role:slave\\r\\nmaster_host:10.0.3.10\\r\\n") -> int:
    """The text of a task in a directory of the test; `answers` is the shell that stands in for Sentinel, `replication` what Redis says."""
    for name, body in (("cli", answers), ("redis-cli", f"printf '{replication}'"), ("chown", "")):
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    text = text.replace(STATE_FILE, f"{tmp_path}/state.conf").replace(CLI, f"{tmp_path}/cli").replace(REDIS_CLI, f"{tmp_path}/redis-cli")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-eu", "-c", text], env=environment, check=False).returncode


def _watched(tmp_path: Path) -> str:
    return (tmp_path / "state.conf").read_text().splitlines()[-1]


@pytest.mark.parametrize(("others", "quorum"), [(2, 2), (3, 3), (4, 3), (6, 4)])
def test_a_majority_of_the_region_decides(others: int, quorum: int, tmp_path: Path) -> None:
    task = _service((*_peers(others), *_peers(2, "us"))).before[0]
    assert _run(task.script, tmp_path, "exit 1") == 0
    assert _watched(tmp_path) == f"sentinel monitor main 10.0.3.10 6379 {quorum}"


@pytest.mark.parametrize("answers", ["exit 1", "echo; echo", "echo NOAUTH Authentication required."])
def test_the_first_sentinel_watches_the_primary_of_its_own_redis(answers: str, tmp_path: Path) -> None:
    task = _service().before[0]
    assert _run(task.script, tmp_path, answers) == 0
    assert _watched(tmp_path) == "sentinel monitor main 10.0.3.10 6379 2"
    assert _run(task.script, tmp_path, answers, "role:master\\r\\nconnected_slaves:2\\r\\n") == 0
    assert _watched(tmp_path) == "sentinel monitor main 10.0.3.12 6379 2"


def test_without_an_answer_of_redis_no_primary_is_guessed(tmp_path: Path) -> None:
    assert _run(_service().before[0].script, tmp_path, "exit 1", "NOAUTH Authentication required.\\n") == 1
    assert not (tmp_path / "state.conf").exists()


def test_a_later_sentinel_watches_whoever_the_others_say_is_primary(tmp_path: Path) -> None:
    answers = '[ "$2" = 10.0.3.11 ] && printf "10.0.3.11\\n6379\\n"'
    task = _service().before[0]
    assert _run(task.script, tmp_path, answers) == 0
    assert _watched(tmp_path) == "sentinel monitor main 10.0.3.11 6379 2"


def test_a_state_is_written_once(tmp_path: Path) -> None:
    task = _service().before[0]
    assert _run(task.unless, tmp_path, "exit 1") == 1
    assert _run(task.script, tmp_path, "exit 1") == 0
    assert _run(task.unless, tmp_path, "exit 1") == 0


@pytest.mark.parametrize(("quorum", "status"), [("2", 0), ("3", 1), ("22", 1)])
def test_another_number_of_servers_changes_the_quorum_of_a_running_sentinel(quorum: str, status: int, tmp_path: Path) -> None:
    task = _service().after[0]
    assert _run(task.unless, tmp_path, f'printf "num-other-sentinels\\n2\\nquorum\\n{quorum}\\nfailover-timeout\\n2\\n"') == status
    assert _run(task.script, tmp_path, '[ "$*" = "sentinel set main quorum 2" ] && echo OK') == 0
    assert _run(task.script, tmp_path, "echo ERR") == 1
