"""Backups: what is configured, and the program on the server, run here with programs that only pretend."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hosts.configuration import Service
from hosts.services.backup import backup
from hosts.templating import TEMPLATES
from tests.support.database_host import BACKUP, database_host

HOUR = 3600


def _service(**changes: Any) -> Service:
    service = backup(database_host(**changes))
    assert service
    return service


def _file(service: Service, path: str) -> str:
    return next(file.content for file in service.files if file.path == path)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """rungway-database as a module; its settings and locks are in `tmp_path`, and psql and the backup are pretended there."""
    found = importlib.util.spec_from_file_location("rungway_database", TEMPLATES / "backup" / "rungway_database.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    monkeypatch.setattr(module, "SETTINGS", tmp_path / "database.json")
    monkeypatch.setattr(module, "LOCKS", tmp_path)
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    _write_settings(tmp_path)
    _primary(tmp_path)
    return module


def _write_settings(directory: Path, **changes: Any) -> None:
    settings = {
        "commands": {
            "is_created": f"test -e {directory}/created",
            "create": f"touch {directory}/created",
            "full": f'echo "full $(date +%s) 4096 00000001 intact" >>{directory}/made',
            "incremental": f'echo "incremental $(date +%s) 4096 00000001 intact" >>{directory}/made',
            "backups": f"touch {directory}/made; cat {directory}/made",
            "restore": f'mkdir -p "$DATA"; echo "$TARGET" >{directory}/target; touch "$DATA/postgresql.auto.conf"',
            "fetch_for_drill": "fetch '%f'",
        },
        "full_every_hours": 24,
        "incremental_every_hours": 6,
        "recovery_point_minutes": 5,
        "recovery_time_minutes": 60,
        "standbys": 0,
        "follows": "",
        "scratch": f"{directory}/scratch",
        "programs": str(directory),
        "metrics": str(directory),
    }
    (directory / "database.json").write_text(json.dumps(settings | changes))


def _program(directory: Path, name: str, body: str) -> None:
    (directory / name).write_text(f"#!/bin/bash\n{body}\n")
    (directory / name).chmod(0o755)


def _psql(directory: Path, body: str) -> None:
    _program(directory, "psql", f"asked=$(cat)\n{body}")


def _primary(directory: Path, timeline: int = 1) -> None:
    _psql(directory, f'case "$asked" in *pg_walfile_name*) echo {timeline:08X} ;; *) echo t ;; esac')


def _restored(directory: Path, *, heartbeat_age_seconds: int = 60, broken: int = 0) -> None:
    """A restored PostgreSQL that is all right, but for what is asked for."""
    (directory / "made").write_text("full 100 4096 00000001 intact\n")
    for name in ("pg_ctl", "pg_amcheck", "pg_checksums"):
        _program(directory, name, "exit 0")
    _psql(
        directory,
        f"""case "$asked" in
        *pg_is_in_recovery*) echo t ;;
        *"max(at)"*) echo $(($(date +%s) - {heartbeat_age_seconds})) ;;
        *last_digest*) echo {broken} ;;
        *pg_database*) echo application ;;
        *pg_stat_user_tables*) echo public.orders ;;
        *count*) echo 7 ;;
        esac""",
    )


def _drill(program: ModuleType, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = program.main(["drill", *arguments])
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, answer


def test_without_backups_or_a_database_there_is_nothing() -> None:
    assert backup(database_host(backup=None)) is None
    assert backup(database_host(postgresql=None)) is None


def test_the_repository_is_encrypted_and_known_to_postgres_alone() -> None:
    service = _service()
    configuration = _file(service, "/etc/pgbackrest.conf").splitlines()

    assert [(file.owner, file.group, file.mode) for file in service.files if file.is_secret] == [("root", "postgres", 0o640)]
    for line in (
        "repo1-s3-bucket=shop-backups",
        "repo1-path=/postgresql/eu",
        "repo1-s3-uri-style=path",
        "repo1-cipher-type=aes-256-cbc",
        "repo1-cipher-pass=${secret:backup-cipher}",
        "repo1-retention-full-type=time",
        "repo1-retention-full=14",
        "pg1-path=/srv/data/postgresql/17/main",
    ):
        assert line in configuration


def test_a_backup_leaves_half_of_the_processors_to_the_database() -> None:
    before, _, restore = _file(_service(cores=4), "/etc/pgbackrest.conf").partition("[global:restore]")

    assert "process-max=2\n" in before
    assert "process-max=4\n" in restore
    assert "process-max=1\n" in _file(_service(cores=1), "/etc/pgbackrest.conf").partition("[global:restore]")[0]


def test_a_heart_that_stops_for_a_failover_has_not_failed(program: ModuleType, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    asked = f'case "$asked" in *pg_is_in_recovery*) if [ -e {cut} ]; then {{then}}; else echo t; fi ;; *) touch {cut}; exit 2 ;; esac'
    for then in ("exit 2", "echo f"):
        cut.unlink(missing_ok=True)
        _psql(tmp_path, asked.format(then=then))
        assert program.main(["heartbeat"]) == 0
        assert cut.exists()


def test_a_heart_that_a_primary_can_not_beat_has_failed(program: ModuleType, tmp_path: Path) -> None:
    _psql(tmp_path, 'case "$asked" in *pg_is_in_recovery*) echo t ;; *) echo "no room" >&2; exit 3 ;; esac')
    assert program.main(["heartbeat"]) == 1


def test_no_incremental_backups_means_no_timer_for_them() -> None:
    service = _service(backup=replace(BACKUP, incremental_every_hours=0))

    assert service.units == ("backup-full.timer", "backup-heartbeat.timer", "backup-drill.timer")
    assert service.absent == ("/etc/systemd/system/backup-incremental.service", "/etc/systemd/system/backup-incremental.timer")
    assert "backup-incremental.timer" in _service().units
    assert _service().absent == ()


@pytest.mark.parametrize(("data_mount", "scratch"), [("/srv/data", "/srv/data/drill"), (None, "/var/lib/postgresql/drill")])
def test_a_drill_has_its_place_where_the_data_is(data_mount: str | None, scratch: str) -> None:
    service = _service(data_mount=data_mount)

    assert json.loads(_file(service, "/etc/rungway/database.json"))["scratch"] == scratch
    assert Path(scratch).parent.as_posix() in _file(service, "/etc/systemd/system/backup-drill.service").split("ReadWritePaths=")[1].split()


@pytest.mark.parametrize(
    ("kind", "backups", "due"),
    [
        ("full", [], True),
        ("incremental", [], False),  # the first backup is a full one
        ("full", [("full", 0)], True),
        ("full", [("full", HOUR)], False),
        ("full", [("full", 0), ("incremental", 23 * HOUR)], True),
        ("incremental", [("full", 18 * HOUR)], True),
        ("incremental", [("full", 19 * HOUR)], False),
        ("incremental", [("full", 0), ("incremental", 19 * HOUR)], False),
    ],
)
def test_a_backup_is_due_when_the_last_that_counts_is_old(
    program: ModuleType, kind: str, backups: list[tuple[str, int]], due: bool
) -> None:
    made = [program.Backup(*backup, 1, "00000001", intact=True) for backup in backups]

    assert program.is_due({"full_every_hours": 24, "incremental_every_hours": 6}, kind, made, "00000001", 24 * HOUR) is due


@pytest.mark.parametrize(("kind", "incremental_hours", "due"), [("incremental", 6, True), ("full", 6, False), ("full", 0, True)])
def test_a_new_primary_needs_a_backup_at_once_since_nobody_archives_what_the_old_one_had_not(
    program: ModuleType, kind: str, incremental_hours: int, due: bool
) -> None:
    settings = {"full_every_hours": 24, "incremental_every_hours": incremental_hours}
    backups = [program.Backup("full", 0, 1, "00000001", intact=True)]

    assert program.is_due(settings, kind, backups, "00000002", HOUR) is due
    assert program.is_due(settings, kind, backups, "00000001", HOUR) is False
    # Should incremental ones fail, a full one still comes in its time.
    assert program.is_due(settings, kind, backups, "00000002", 24 * HOUR) is True


def test_after_a_failover_one_backup_is_made_and_no_more(program: ModuleType, tmp_path: Path) -> None:
    settings = json.loads((tmp_path / "database.json").read_text())
    again = settings["commands"]["incremental"].replace("00000001", "00000002")
    _write_settings(tmp_path, commands=settings["commands"] | {"incremental": again})

    program.main(["full"])
    program.main(["incremental"])
    _primary(tmp_path, timeline=2)
    assert [program.main([kind]) for kind in ("full", "incremental", "incremental")] == [0, 0, 0]

    assert [line.split()[0] for line in (tmp_path / "made").read_text().splitlines()] == ["full", "incremental"]


def test_the_first_backup_prepares_the_repository_and_the_next_hour_makes_none(program: ModuleType, tmp_path: Path) -> None:
    assert [program.main([kind]) for kind in ("full", "full", "incremental")] == [0, 0, 0]

    assert (tmp_path / "created").exists()
    made = (tmp_path / "made").read_text().split()
    assert made[::5] == ["full"]
    metrics = (tmp_path / "backup.prom").read_text().splitlines()
    assert f'rungway_backup_last_success_timestamp_seconds{{kind="full"}} {made[1]}' in metrics
    assert {'rungway_backup_succeeded{kind="full"} 1', 'rungway_backup_succeeded{kind="incremental"} 1'} <= set(metrics)


def test_a_failed_backup_ends_with_1_and_is_said(program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "created").touch()
    settings = json.loads((tmp_path / "database.json").read_text())
    _write_settings(tmp_path, commands=settings["commands"] | {"full": "echo no bucket >&2; exit 28"})

    assert program.main(["full"]) == 1
    assert "no bucket" in capsys.readouterr().err
    assert 'rungway_backup_succeeded{kind="full"} 0' in (tmp_path / "backup.prom").read_text().splitlines()


def test_an_incremental_backup_that_goes_well_hides_no_full_one_that_fails(program: ModuleType, tmp_path: Path) -> None:
    settings = json.loads((tmp_path / "database.json").read_text())
    (tmp_path / "created").touch()
    (tmp_path / "made").write_text("full 100 4096 00000001 intact\n")
    _write_settings(tmp_path, commands=settings["commands"] | {"full": "exit 28"})

    assert [program.main([kind]) for kind in ("full", "incremental")] == [1, 0]
    assert [line for line in (tmp_path / "backup.prom").read_text().splitlines() if line.startswith("rungway_backup_succeeded")] == [
        'rungway_backup_succeeded{kind="full"} 0',
        'rungway_backup_succeeded{kind="incremental"} 1',
    ]


def test_a_damaged_backup_fails_at_every_look_and_is_not_made_again_at_each(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = json.loads((tmp_path / "database.json").read_text())
    damaged = settings["commands"]["full"].replace("intact", "damaged")
    _write_settings(tmp_path, commands=settings["commands"] | {"full": f"echo page 7 of base/5/16384; {damaged}"})

    assert [program.main([kind]) for kind in ("full", "full", "incremental")] == [1, 1, 1]
    said = capsys.readouterr()
    assert said.out == "page 7 of base/5/16384\n"
    assert "pages with wrong checksums" in said.err
    assert len((tmp_path / "made").read_text().splitlines()) == 1
    metrics = (tmp_path / "backup.prom").read_text()
    assert "rungway_backup_last_success_timestamp_seconds{" not in metrics
    assert 'rungway_backup_succeeded{kind="full"} 0\n' in metrics


@pytest.mark.parametrize("psql", ["echo f", "exit 2"])
def test_a_standby_does_nothing_and_takes_back_what_it_said_as_a_primary(program: ModuleType, tmp_path: Path, psql: str) -> None:
    (tmp_path / "backup.prom").touch()
    _psql(tmp_path, psql)

    assert program.main(["full"]) == 0
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "backup.prom").exists()


def test_an_error_of_the_database_is_no_standby(program: ModuleType, tmp_path: Path) -> None:
    _psql(tmp_path, "exit 3")

    assert program.main(["full"]) == 1


def test_a_drill_that_keeps_every_promise(program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _restored(tmp_path)
    status, report = _drill(program, capsys)

    assert (status, report["ok"]) == (0, True)
    assert [check["name"] for check in report["checks"]] == [
        "recovery time",
        "recovery point",
        "heartbeats missing or changed",
        "tables read",
        "tables and indexes intact",
        "page checksums",
    ]
    assert "rungway_drill_succeeded 1" in (tmp_path / "drill.prom").read_text().splitlines()
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(
    ("restored", "missed"),
    [({"heartbeat_age_seconds": 301}, "recovery point"), ({"broken": 1}, "heartbeats missing or changed")],
)
def test_a_missed_promise_ends_with_1(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], restored: dict[str, int], missed: str
) -> None:
    _restored(tmp_path, **restored)
    status, report = _drill(program, capsys)

    assert status == 1
    assert [check["name"] for check in report["checks"] if not check["ok"]] == [missed]


def test_a_slow_restore_is_a_missed_promise(program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _restored(tmp_path)
    _write_settings(tmp_path, recovery_time_minutes=0)

    assert [check["name"] for check in _drill(program, capsys)[1]["checks"] if not check["ok"]] == ["recovery time"]


@pytest.mark.parametrize("broken", ["pg_ctl", "pg_amcheck", "pg_checksums"])
def test_whatever_fails_the_scratch_directory_goes(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    _restored(tmp_path)
    _program(tmp_path, broken, "echo page verification failed >&2; exit 2")
    status, report = _drill(program, capsys)

    assert status == 1
    assert "status 2: page verification failed" in report["checks"][-1]["note"]
    assert "rungway_drill_succeeded 0" in (tmp_path / "drill.prom").read_text().splitlines()
    assert not (tmp_path / "scratch").exists()


def test_a_disk_that_is_too_small_is_left_alone(program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _restored(tmp_path)
    (tmp_path / "made").write_text(f"full 100 {10**18} 00000001 intact\n")
    status, report = _drill(program, capsys)

    assert status == 1
    assert f"free bytes; needed: {12 * 10**17 + 1024**3}" in report["checks"][0]["note"]
    assert not (tmp_path / "target").exists()


def test_a_drill_leaves_room_for_the_log_of_the_running_database(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _restored(tmp_path)
    usage = program.shutil.disk_usage(tmp_path)
    for free, ok in ((1024**3 + 4915, True), (1024**3 + 4914, False)):
        monkeypatch.setattr(program.shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert _drill(program, capsys)[1]["ok"] is ok


def test_a_time_reaches_the_restore_in_utc(program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _restored(tmp_path)
    _drill(program, capsys, "--to", "2026-11-21T12:00:00+02:00")

    assert (tmp_path / "target").read_text() == "2026-11-21 10:00:00+00:00\n"


@pytest.mark.parametrize(
    ("standbys", "follows", "primary", "runs"),
    [(1, "", "t", False), (1, "", "f", True), (0, "", "t", True), (0, "eu", "f", False), (0, "eu", "t", True), (1, "eu", "f", False)],
)
def test_the_weekly_drill_leaves_a_primary_with_standbys_and_a_copy_of_another_region_alone(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], standbys: int, follows: str, primary: str, runs: bool
) -> None:
    _write_settings(tmp_path, standbys=standbys, follows=follows)
    _psql(tmp_path, f"echo {primary}")
    program.main(["drill", "--scheduled"])

    assert bool(capsys.readouterr().out) is runs


def test_a_drill_on_a_copy_of_another_region_says_where_to_go(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_settings(tmp_path, follows="eu")
    _psql(tmp_path, "echo f")

    assert program.main(["drill"]) == 1
    assert capsys.readouterr().err == "this database copies that of eu, whose servers drill its backups\n"


def test_clean_leaves_a_drill_that_goes_on_alone(program: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    with program.exclusive("drill"):
        assert program.main(["clean"]) == 0
        assert (tmp_path / "scratch").exists()
    assert program.main(["clean"]) == 0
    assert not (tmp_path / "scratch").exists()


def _list(stanza: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    script = TEMPLATES / "backup" / "pgbackrest_backups.py"
    # As pgBackRest does, with control characters as they come.
    said = json.dumps([{"name": "main", "repo": [], **stanza}]).replace("\\u0001", "\x01")
    return subprocess.run([sys.executable, str(script)], input=said, capture_output=True, text=True, check=False)


def test_the_list_of_backups_is_short() -> None:
    def made(kind: str, end: int, *, error: bool = False) -> dict[str, Any]:
        return {
            "type": kind,
            "error": error,
            "timestamp": {"start": 1, "stop": end},
            "info": {"size": 4096},
            "archive": {"stop": "0000000A00000002000000FE"},
        }

    done = _list({"status": {"code": 0}, "backup": [made("full", 100), made("diff", 150, error=True), made("incr", 200)]})

    assert (done.returncode, done.stdout) == (
        0,
        "full 100 4096 0000000A intact\nincremental 150 4096 0000000A damaged\nincremental 200 4096 0000000A intact\n",
    )


@pytest.mark.parametrize(("code", "status"), [(1, 0), (2, 0), (99, 1)])
def test_a_repository_that_cannot_be_read_is_not_an_empty_one(code: int, status: int) -> None:
    repository = {"status": {"code": code, "message": "unable to read \x01"}}
    done = _list({"status": {"code": code}, "repo": [repository], "backup": []})

    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr == ("unable to read \x01\n" if status else "")
