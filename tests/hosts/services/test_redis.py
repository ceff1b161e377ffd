"""Redis: TLS alone, passwords in files, a role that a convergence never takes back, and snapshots that can be restored."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hosts.configuration import Service, Task
from hosts.services.redis import CLI, data_directory, first_primary, redis
from hosts.specification import BackupService, HostSpecification, Peer, RedisService

ROLE_FILE = "/srv/data/redis/role.conf"
BACKUP = BackupService(
    bucket="shop-backups",
    full_every_hours=24,
    incremental_every_hours=6,
    retention_days=30,
    recovery_point_minutes=5,
    recovery_time_minutes=60,
)


def _peer(region: str, number: int, *, role: Any = "redis", address: str | None = None) -> Peer:
    return Peer(f"{role}-{region}-{number}", role, address or f"10.0.3.1{number}", region=region, services=("redis",))


def _redis(**changes: Any) -> RedisService:
    arguments: dict[str, Any] = {"max_memory_mb": 512, "eviction_policy": "allkeys-lru", "primary": True, "sentinel": False}
    return RedisService(**(arguments | changes))


def _host(**changes: Any) -> HostSpecification:
    arguments: dict[str, Any] = {
        "name": "redis-eu-1",
        "role": "redis",
        "provider": "hetzner",
        "location": "nbg1",
        "region": "eu",
        "cores": 2,
        "memory_mb": 4096,
        "disk_gb": 40,
        "architecture": "x86",
        "private_address": "10.0.3.10",
        "public": False,
        "jump_host": "monitoring-eu-1",
        "data_mount": "/srv/data",
        "redis": _redis(),
    }
    return HostSpecification(**(arguments | changes))


REPLICA: dict[str, Any] = {
    "name": "redis-eu-2",
    "redis": _redis(primary=False),
    "peers": (Peer("app-eu-1", "app", "10.0.1.10", region="eu"), _peer("eu", 1, address="10.0.3.10"), _peer("eu", 3)),
}


def _service(**changes: Any) -> Service:
    return redis(_host(**changes))[0]


def _file(service: Service, path: str) -> str:
    return next(file.content for file in service.files if file.path == path)


def _settings(**changes: Any) -> list[str]:
    lines = _file(_service(**changes), "/etc/redis/redis.conf").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _users(**changes: Any) -> dict[str, str]:
    lines = _file(_service(**changes), "/etc/redis/users.acl").splitlines()
    return {line.split()[1]: line for line in lines}


def test_a_server_without_redis_has_none() -> None:
    assert redis(_host(redis=None)) == ()


def test_it_is_reached_over_tls_on_the_private_address_and_from_this_server() -> None:
    settings = _settings()
    assert {"bind 127.0.0.1 10.0.3.10", "port 0", "tls-port 6379", "tls-replication yes", "tls-auth-clients no"} <= set(settings)
    assert "bind 127.0.0.1 ${address:redis-eu-1}" in _settings(private_address=None)


def test_data_is_on_the_volume_where_there_is_one() -> None:
    for mount, directory in (("/srv/data", "/srv/data/redis"), (None, "/var/lib/redis")):
        host = _host(data_mount=mount)
        assert data_directory(host) == directory
        service = redis(host)[0]
        assert f"dir {directory}" in _file(service, "/etc/redis/redis.conf")
        unit = _file(service, "/etc/systemd/system/redis-server.service.d/rungway.conf")
        assert f"ReadWritePaths=\nReadWritePaths={directory}\n" in unit
        assert f"RequiresMountsFor={directory}\n" in unit
        assert [(one.path, one.owner, one.mode) for one in service.directories] == [(directory, "redis", 0o750)]


def test_what_was_tuned_is_there_once() -> None:
    names = [line.split()[0] for line in _settings() if not line.startswith("save")]
    assert {"maxmemory", "maxmemory-policy", "maxclients", "tcp-keepalive"} <= set(names)
    assert len(names) == len(set(names))
    assert "maxmemory 512mb" in _settings()


def test_a_second_copy_every_hour_stands_beside_the_append_only_file() -> None:
    settings = _settings()
    assert {"appendonly yes", "appendfsync everysec", "shutdown-on-sigterm nosave"} <= set(settings)
    # An empty one first: what CONFIG REWRITE left in the other file would count, too.
    assert [line for line in settings if line.startswith("save")] == ['save ""', "save 3600 1"]


@pytest.mark.parametrize(
    ("changes", "threads"),
    [({"cores": 2}, 1), ({"cores": 3}, 1), ({"cores": 4}, 3), ({"cores": 8}, 7), ({"cores": 8, "role": "app"}, 1)],
)
def test_threads_leave_a_processor_free_and_leave_a_shared_server_alone(changes: dict[str, Any], threads: int) -> None:
    assert f"io-threads {threads}" in _settings(**changes)


@pytest.mark.parametrize(("memory", "backlog"), [(16, 2), (512, 64), (16384, 256)])
def test_the_backlog_grows_with_the_memory(memory: int, backlog: int) -> None:
    assert f"repl-backlog-size {backlog}mb" in _settings(redis=_redis(max_memory_mb=memory))


def test_a_start_may_last_as_long_as_its_data_takes_to_read() -> None:
    service = _service(redis=_redis(max_memory_mb=10_000))
    assert service.probe_seconds == 260
    assert "TimeoutStartSec=260\n" in _file(service, "/etc/systemd/system/redis-server.service.d/rungway.conf")


def test_the_application_may_not_administer() -> None:
    users = _users()
    assert list(users) == ["default", "administrator", "replication"]
    assert " ~* &* +@all -@dangerous " in users["default"]
    granted = set(re.findall(r"\+(\S+)", users["default"].partition("-@dangerous")[2]))
    assert granted == {"info", "role", "sort", "client|list", "latency|latest", "latency|histogram", "slowlog|len"}
    assert users["administrator"].endswith(" ~* &* +@all")
    assert users["replication"].endswith(" +psync +replconf +ping")


def test_sentinel_has_a_user_of_its_own_where_there_is_one() -> None:
    assert _users(redis=_redis(sentinel=True))["sentinel"].startswith("user sentinel on >${secret:redis-sentinel} &* ")


def test_each_user_has_a_secret_of_its_own() -> None:
    found = [re.findall(r">\$\{secret:([a-z-]+)\}", line) for line in _users(redis=_redis(sentinel=True)).values()]
    assert found == [["redis"], ["redis-administrator"], ["redis-replication"], ["redis-sentinel"]]


def test_passwords_are_in_files_that_few_read_and_never_in_a_command() -> None:
    services = redis(_host(**REPLICA, backup=BACKUP))
    assert {file.path for service in services for file in service.files if file.is_secret} >= {
        "/etc/redis/redis.conf",
        "/etc/redis/users.acl",
    }
    for service in services:
        for file in service.files:
            assert not file.is_secret or (file.mode, file.group) in ((0o600, "root"), (0o640, "redis")), file.path
        texts = [service.probe, *service.checks, *(text for task in service.before + service.after for text in (task.unless, task.script))]
        assert not any("${secret:" in text for text in texts)


def test_the_settings_say_nothing_about_roles() -> None:
    for changes in ({}, REPLICA):
        assert not any(line.startswith(("replicaof", "slaveof", "include")) for line in _settings(**changes))


def test_redis_reads_the_role_first_so_that_the_settings_win() -> None:
    unit = _file(_service(), "/etc/systemd/system/redis-server.service.d/rungway.conf")
    assert f"ExecStart=\nExecStart=/usr/bin/redis-server {ROLE_FILE} --include /etc/redis/redis.conf " in unit
    assert ROLE_FILE not in [file.path for file in _service().files]


def test_only_the_region_of_the_primary_is_electable() -> None:
    assert "replica-priority 100" in _settings()
    assert "replica-priority 100" in _settings(**REPLICA)
    assert "replica-priority 0" in _settings(**{**REPLICA, "name": "redis-us-1", "region": "us"})


def test_a_primary_that_was_cut_off_stops_writing_where_another_may_be_elected() -> None:
    assert "min-replicas-to-write 1" in _settings(redis=_redis(sentinel=True))
    assert not any(line.startswith("min-replicas") for line in _settings())


def test_the_first_primary_is_on_a_server_of_its_own_or_beside_the_application() -> None:
    assert first_primary(_host()).name == "redis-eu-1"
    assert first_primary(_host(**REPLICA)).name == "redis-eu-1"
    shared = (_peer("eu", 1, role="app"), Peer("app-us-1", "app", "10.1.1.10", region="us"))
    assert first_primary(_host(name="redis-us-1", region="us", redis=_redis(primary=False), peers=shared)).name == "app-eu-1"


def test_a_replica_without_a_primary_is_refused() -> None:
    host = _host(redis=_redis(primary=False), peers=(Peer("app-eu-1", "app", "10.0.1.10", region="eu"),))
    with pytest.raises(ValueError, match="redis-eu-1: a replica of Redis, and no other server of Redis among its peers"):
        redis(host)


def _role_task(tmp_path: Path, primary: str | None, **changes: Any) -> tuple[Task, dict[str, str], Path]:
    """The task that writes the role, in a directory of the test; a stand-in answers for the servers: `primary` says that it is one."""
    task = _service(**changes).before[0]
    stand_in = tmp_path / "cli"
    stand_in.write_text(f'#!/bin/sh\n[ "$1 $3 $4" = "-h info replication" ] || exit 9\n[ "$2" = "{primary}" ] && echo role:master\n')
    chown = tmp_path / "chown"
    chown.write_text("#!/bin/sh\n")
    for program in (stand_in, chown):
        program.chmod(0o755)
    role_file = tmp_path / "role.conf"
    texts = [text.replace(ROLE_FILE, str(role_file)).replace(CLI, str(stand_in)) for text in (task.unless, task.script)]
    return Task(name=task.name, unless=texts[0], script=texts[1]), {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, role_file


def _bash(text: str, environment: dict[str, str]) -> int:
    return subprocess.run(["bash", "-eu", "-c", text], env=environment, check=False).returncode


@pytest.mark.parametrize(
    ("changes", "answering", "role"),
    [
        ({}, None, []),
        (REPLICA, None, ["replicaof 10.0.3.10 6379"]),
        (REPLICA, "10.0.3.10", ["replicaof 10.0.3.10 6379"]),
        # After a failover: the third server is primary, whatever the settings name.
        (REPLICA, "10.0.3.13", ["replicaof 10.0.3.13 6379"]),
        ({"peers": (_peer("eu", 2), _peer("eu", 3))}, "10.0.3.12", ["replicaof 10.0.3.12 6379"]),
    ],
)
def test_a_new_server_follows_whoever_is_primary_now(
    changes: dict[str, Any], answering: str | None, role: list[str], tmp_path: Path
) -> None:
    task, environment, role_file = _role_task(tmp_path, answering, **changes)
    assert _bash(task.unless, environment) == 1
    assert _bash(task.script, environment) == 0
    assert [line for line in role_file.read_text().splitlines() if not line.startswith("#")] == role
    assert role_file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("keys", "code"), [("0", 0), ("", 0), ("ERR max number of clients reached", 0), ("12", 1)])
def test_an_empty_server_does_not_become_the_primary_of_one_that_has_keys(keys: str, code: int, tmp_path: Path) -> None:
    task, environment, role_file = _role_task(tmp_path, None, peers=(_peer("eu", 2),))
    (tmp_path / "cli").write_text(f'#!/bin/sh\nif [ "$3" = dbsize ]; then echo "{keys}"; else echo role:slave; fi\n')

    assert _bash(task.script, environment) == code
    assert role_file.exists() is (code == 0)


def test_a_role_is_written_once(tmp_path: Path) -> None:
    task, environment, role_file = _role_task(tmp_path, None, **REPLICA)
    role_file.write_text("replicaof 10.0.3.13 6379\n")
    assert _bash(task.unless, environment) == 0


def test_the_check_starts_the_program_with_the_rendered_settings() -> None:
    assert _service().checks == ("/usr/local/lib/rungway/redis-check redis-server --include /etc/redis/redis.conf",)


def test_without_backups_there_are_no_snapshots() -> None:
    assert [service.name for service in redis(_host())] == ["redis"]


def _snapshots(**changes: Any) -> Service:
    return redis(_host(backup=BACKUP, **changes))[1]


def test_snapshots_go_to_the_bucket_of_the_backups_encrypted() -> None:
    environment = _file(_snapshots(), "/etc/rungway/redis-snapshot.env")
    assert "RCLONE_CONFIG_SNAPSHOTS_TYPE=crypt\nRCLONE_CONFIG_SNAPSHOTS_REMOTE=bucket:shop-backups/redis\n" in environment
    assert "RCLONE_CONFIG_BUCKET_ENDPOINT='https://${secret:backup-endpoint}'\n" in environment
    assert set(re.findall(r"\$\{secret:([a-z-]+)\}", environment)) == {
        "backup-endpoint",
        "backup-key-id",
        "backup-key-secret",
        "backup-cipher",
    }


def test_snapshots_run_daily_and_a_change_of_theirs_does_not_restart_redis() -> None:
    assert _snapshots().units == ("rungway-redis-snapshot.timer",)
    assert _service().units == ("redis-server.service",)


def _programs(tmp_path: Path) -> tuple[Path, dict[str, str], Path]:
    """The snapshot program in a directory of the test, with stand-ins for Redis, rclone and systemd that write down what they were told."""
    data, told = tmp_path / "data", tmp_path / "told"
    data.mkdir()
    (data / "dump.rdb").write_text("data")
    (data / "role.conf").write_text("# primary\n")
    cli = tmp_path / "rungway-redis-cli"
    stand_ins = {
        cli: f"""
case "$1" in
lastsave) cat {tmp_path}/lastsave ;;
bgsave) date +%s >{tmp_path}/lastsave ;;
dbsize) echo 7 ;;
esac""",
        tmp_path / "rclone": f"""
[ "$1" = obscure ] && exec cat
echo "$@" >>{told}
[ "$1 $2" != "copyto snapshots:redis-eu-1/there.rdb" ] || echo snapshot >"$3\"""",
        tmp_path / "systemctl": f'[ "$1" = is-active ] && exec test -e {tmp_path}/sentinel\necho "$@" >>{told}',
        tmp_path / "redis-check-rdb": f"exec test ! -e {tmp_path}/damaged",
        tmp_path / "chown": "",
    }
    for path, text in stand_ins.items():
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    (tmp_path / "lastsave").write_text("100\n")
    (tmp_path / "environment").write_text("SNAPSHOT_CIPHER=cipher\n")
    program = tmp_path / "snapshot"
    text = _file(_snapshots(), "/usr/local/sbin/rungway-redis-snapshot")
    for old, new in (
        ("/srv/data/redis", data),
        (CLI, cli),
        ("/etc/rungway/redis-snapshot.env", tmp_path / "environment"),
        ("/var/lib/prometheus/node-exporter", tmp_path),
    ):
        assert old in text
        text = text.replace(old, str(new))
    program.write_text(text)
    return program, {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, told


def _run(program: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", program, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_a_snapshot_is_copied_old_ones_go_and_the_metric_says_when(tmp_path: Path) -> None:
    program, environment, told = _programs(tmp_path)
    done = _run(program, environment)
    assert done.returncode == 0, done.stderr
    copied, deleted = told.read_text().splitlines()
    assert re.fullmatch(rf"copyto {tmp_path}/data/snapshot.rdb snapshots:redis-eu-1/\d{{4}}-\d\d-\d\dT\d{{6}}Z.rdb", copied)
    assert deleted == "delete --min-age 30d snapshots:redis-eu-1"
    metric = (tmp_path / "rungway-redis-snapshot.prom").read_text().splitlines()[-1]
    assert re.fullmatch(r"rungway_redis_snapshot_last_success_timestamp_seconds \d{10}", metric)
    assert not (tmp_path / "data" / "snapshot.rdb").exists()


def test_a_damaged_snapshot_is_not_copied_and_nothing_old_goes(tmp_path: Path) -> None:
    program, environment, told = _programs(tmp_path)
    (tmp_path / "damaged").touch()
    done = _run(program, environment)
    assert (done.returncode, done.stderr) == (1, "rungway-redis-snapshot: the RDB file of Redis is damaged\n")
    assert not told.exists()
    assert not (tmp_path / "rungway-redis-snapshot.prom").exists()


def test_a_restore_makes_the_snapshot_the_base_of_the_append_only_file_and_keeps_what_was_there(tmp_path: Path) -> None:
    program, environment, told = _programs(tmp_path)
    done = _run(program, environment, "restore", "there.rdb")
    assert done.returncode == 0, done.stderr
    data = tmp_path / "data"
    assert (data / "appendonlydir" / "appendonly.aof.1.base.rdb").read_text() == "snapshot\n"
    assert (data / "appendonlydir" / "appendonly.aof.manifest").read_text() == "file appendonly.aof.1.base.rdb seq 1 type b\n"
    assert [path.read_text() for path in data.glob("before-restore-*/dump.rdb")] == ["data"]
    assert told.read_text().splitlines()[1:] == ["stop redis-server", "start redis-server"]
    assert done.stdout.startswith("restored redis-eu-1/there.rdb: 7 keys; the old data is in ")


@pytest.mark.parametrize(
    ("obstacle", "name", "said"),
    [
        ("sentinel", "there.rdb", "Sentinel runs: stop redis-sentinel on every Redis server first"),
        ("data/role.conf", "there.rdb", "this server is a replica: restore on the primary"),
        ("", "gone.rdb", "no snapshot redis-eu-1/gone.rdb; see: rungway-redis-snapshot list redis-eu-1"),
        ("damaged", "there.rdb", "redis-eu-1/there.rdb is damaged"),
    ],
)
def test_a_restore_that_would_lose_data_is_refused_and_redis_goes_on(obstacle: str, name: str, said: str, tmp_path: Path) -> None:
    program, environment, told = _programs(tmp_path)
    if obstacle:
        (tmp_path / obstacle).write_text("replicaof 10.0.3.11 6379\n")
    done = _run(program, environment, "restore", name)
    assert (done.returncode, done.stderr) == (1, f"rungway-redis-snapshot: {said}\n")
    assert not told.exists() or "stop redis-server" not in told.read_text()
    assert (tmp_path / "data" / "dump.rdb").read_text() == "data"


def test_help_says_how_to_restore(tmp_path: Path) -> None:
    program, environment, _ = _programs(tmp_path)
    done = _run(program, environment, "--help")
    assert done.returncode == 0
    assert "restore NAME [SERVER]" in done.stdout


def test_an_unknown_word_changes_nothing(tmp_path: Path) -> None:
    program, environment, told = _programs(tmp_path)
    assert _run(program, environment, "restroe", "there.rdb").returncode == 2
    assert not told.exists()
