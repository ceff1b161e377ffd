"""Convergence of a real server: Debian 13 with its own init system and sshd, booted here. Each test makes one guard fire."""

import dataclasses
import subprocess
import sys
import time
from threading import Thread

import pytest

from hosts.configuration import Account, Directory, HostFile, Service, Task, secret
from hosts.converge.agent import POLICY_TEXT
from rungway.rehearsal.phase import RehearsedPhase
from rungway.rehearsal.server import RehearsedServer
from tests.support.rehearsed_server import (
    CONFIGURATION,
    SERVER,
    UNIT,
    WAIT,
    agent,
    ask,
    changed,
    changes,
    error,
    failure,
    main_process,
    probe,
    read,
    started,
    wait_for_the_middle,
)

POLICY = "/usr/sbin/policy-rc.d"
TIMER = "systemd-tmpfiles-clean.timer"
READ = "/run/read-by-the-probe"


def test_packages_accounts_and_directories_are_made_and_a_second_time_nothing(phase: RehearsedPhase, server: RehearsedServer) -> None:
    wanted = probe(
        "ünï çødé " + "x" * 2_000_000,
        packages=("tree",),
        accounts=(Account(name="probe", groups=("adm",)),),
        directories=(Directory(path="/srv/deep/probe", owner="probe", group="probe", mode=0o750),),
        masked=("unused.service",),
        after=(Task(name="mark", unless="test -e /srv/deep/probe/mark", script="touch /srv/deep/probe/mark"),),
    )

    first = changes(ask(phase, wanted))
    assert first == ["tree", "probe", "/srv/deep/probe", CONFIGURATION, "unused.service", "mark"]
    assert changes(ask(phase, wanted)) == []
    assert server.run("stat --format='%A %U' /srv/deep /srv/deep/probe; id --groups --name probe")[1].split("\n")[:3] == [
        "drwxr-xr-x root",
        "drwxr-x--- probe",
        "probe adm",
    ]
    assert read(server).startswith("ünï çødé x")


def test_drift_is_shown_with_a_diff_and_without_secrets(phase: RehearsedPhase, server: RehearsedServer) -> None:
    """By the command, against the server of the real stack: this one has next to nothing of it."""
    config = phase.directory / "ssh_config"
    command = ["ip", "netns", "exec", phase.network.outside, sys.executable, "-m", "rungway", "drift", "mvp", "--ssh-config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 6, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.startswith(f"{SERVER}: ")
    assert first.endswith("with secrets or certificates not compared")
    assert "  ssh: file /etc/ssh/sshd_config.d/00-bootstrap.conf" in lines
    assert "    +++ wanted" in lines
    assert not any("users.acl" in line for line in lines)
    assert server.run("test -e /etc/nginx")[0] == 1


@pytest.mark.parametrize(
    "drift",
    [
        f"echo other > {CONFIGURATION}",
        f"chmod 600 {CONFIGURATION}",
        f"chown nobody {CONFIGURATION}",
        f"rm {CONFIGURATION}",
        f"ln --symbolic --force /etc/hostname {CONFIGURATION}",
    ],
    ids=["content", "mode", "owner", "gone", "link"],
)
def test_a_file_that_drifted_is_put_back(server: RehearsedServer, drift: str) -> None:
    server.run(drift)

    assert changed(agent(server, probe())) == [CONFIGURATION]
    assert server.run(f"stat --format='%F %a %U' {CONFIGURATION}")[1] == "regular file 644 root\n"
    assert server.run("cat /etc/hostname")[1] == f"{SERVER}\n"


def test_a_file_appears_with_its_directories_which_everyone_may_enter(server: RehearsedServer) -> None:
    file = HostFile(path="/etc/probe.d/deep/password", content="x", group="adm", mode=0o640)

    assert changed(agent(server, probe(files=(file,), checks=()))) == [file.path]
    shown = server.run("stat --format='%n %A %G' /etc/probe.d /etc/probe.d/deep /etc/probe.d/deep/*; ls -A /etc/probe.d/deep")[1]
    assert shown.splitlines() == [
        "/etc/probe.d drwxr-xr-x root",
        "/etc/probe.d/deep drwxr-xr-x root",
        "/etc/probe.d/deep/password -rw-r----- adm",
        "password",
    ]


def test_a_file_that_must_not_be_there_goes_and_comes_back_when_the_service_fails(server: RehearsedServer) -> None:
    server.run("echo kept > /etc/left-over")

    failure(agent(server, probe("broken", absent=("/etc/left-over",))))
    assert read(server, "/etc/left-over") == "kept\n"
    assert changed(agent(server, probe(absent=("/etc/left-over",)))) == ["/etc/left-over"]
    assert server.run("test -e /etc/left-over")[0] == 1


def test_units_that_leave_are_stopped_before_and_run_again_when_the_service_fails(server: RehearsedServer) -> None:
    """A timer whose service vanishes would fail, and what runs would go on."""
    timer, service = (f"/etc/systemd/system/leaving.{kind}" for kind in ("timer", "service"))
    server.run(f"printf '[Service]\\nExecStart=sleep infinity\\n' > {service}")
    server.run(f"printf '[Timer]\\nOnBootSec=1d\\n[Install]\\nWantedBy=timers.target\\n' > {timer}")
    assert server.run("systemctl daemon-reload; systemctl enable --now leaving.timer; systemctl start leaving.service")[0] == 0
    shown = "systemctl is-active leaving.timer leaving.service; systemctl is-enabled leaving.timer"

    failure(agent(server, probe("broken", absent=(service, timer))))
    assert server.run(shown)[1].splitlines() == ["active", "active", "enabled"]
    assert changed(agent(server, probe(absent=(service, timer)))) == [service, timer]
    assert server.run(shown)[1].splitlines() == ["inactive", "inactive", "not-found"]
    assert "leaving" not in server.run("systemctl --failed --plain; ls /etc/systemd/system/timers.target.wants; systemctl list-timers")[1]


def test_a_link_that_a_change_replaced_is_a_link_again_when_the_service_fails(server: RehearsedServer) -> None:
    server.run(f"mv {CONFIGURATION} /etc/probe.real; ln --symbolic probe.real {CONFIGURATION}")

    failure(agent(server, probe("broken")))
    assert server.run(f"readlink {CONFIGURATION}")[1] == "probe.real\n"
    assert read(server) == "one\n"


def test_a_file_below_var_is_checked_too(server: RehearsedServer) -> None:
    file = HostFile(path="/var/lib/probe/file", content="refused")

    failure(agent(server, probe(files=(file,), checks=(f"! grep refused {file.path}",))))
    assert server.run("test -e /var/lib/probe/file")[0] == 1
    changed(agent(server, probe(files=(dataclasses.replace(file, content="x"),), checks=(f"! grep refused {file.path}",))))
    assert read(server, file.path) == "x"


@pytest.mark.parametrize("wrong", ["mkdir", "mkfifo"])
def test_what_is_neither_a_file_nor_a_link_is_not_touched(server: RehearsedServer, wrong: str) -> None:
    server.run(f"rm -rf /etc/odd; {wrong} /etc/odd")
    files = (HostFile(path=CONFIGURATION, content="two\n"), HostFile(path="/etc/odd", content="x"))

    said = failure(agent(server, probe(files=files)))
    assert "found /etc/odd, which is neither a file nor a link" in said
    assert read(server) == "one\n"
    assert server.run("ls -A /etc | grep rungway")[1] == ""


def test_a_directory_is_not_made_through_a_link_of_another_account(server: RehearsedServer) -> None:
    server.run("mkdir -p /srv/theirs; chown nobody /srv/theirs; ln --symbolic --force --no-dereference /etc /srv/theirs/data")

    said = failure(agent(server, probe(directories=(Directory(path="/srv/theirs/data", owner="nobody", group="nogroup"),))))
    assert "/srv/theirs/data" in said
    assert server.run("stat --format=%U /etc")[1] == "root\n"


def test_a_file_is_not_written_through_a_link_of_another_account(server: RehearsedServer) -> None:
    server.run("mkdir -p /srv/theirs; chown nobody /srv/theirs; ln --symbolic --force /etc/hostname /srv/theirs/.file.rungway")

    assert changed(agent(server, probe(files=(HostFile(path="/srv/theirs/file", content="x", owner="nobody"),)))) == ["/srv/theirs/file"]
    assert server.run("stat --format=%U /etc/hostname; cat /etc/hostname")[1] == f"root\n{SERVER}\n"


def test_an_owner_that_is_not_there_is_an_error(server: RehearsedServer) -> None:
    said = failure(agent(server, probe(files=(HostFile(path="/etc/theirs", content="x", owner="nobody-knows"),))))
    assert said.startswith("setting owners failed: /etc/theirs: ")
    assert "nobody-knows" in said


def test_a_configuration_that_its_own_checker_refuses_replaces_nothing(server: RehearsedServer) -> None:
    process = main_process(server)

    said = failure(agent(server, probe("refused")))
    assert f"check `! grep refused {CONFIGURATION}` failed" in said
    assert "Nothing was changed." in said
    assert (read(server), main_process(server)) == ("one\n", process)


def test_a_service_that_does_not_start_gets_its_old_files_back(server: RehearsedServer) -> None:
    said = failure(agent(server, probe("broken")))
    assert "systemctl restart probe.service failed" in said
    assert "it is broken" in said
    assert "The files of probe are as they were before, and so are its units." in said
    assert read(server) == "one\n"
    assert server.run("systemctl is-active probe.service")[0] == 0
    assert changed(agent(server, probe())) == []


@pytest.mark.parametrize("before", ["true", "systemctl restart probe.service"], ids=["ran", "had failed"])
def test_units_that_do_not_start_with_the_old_files_either_are_named_and_stay_failed(server: RehearsedServer, before: str) -> None:
    server.run(f"echo broken already > {CONFIGURATION}; {before}")

    said = failure(agent(server, probe("broken")))
    assert "with them, too, these units don't start: probe.service." in said
    assert read(server) == "broken already\n"
    assert server.run("systemctl is-active probe.service")[1] == "failed\n"


@pytest.mark.parametrize("question", ["grep --quiet one /etc/probe.conf", "sleep 60; true"], ids=["refuses", "hangs"])
def test_a_service_that_does_not_answer_gets_its_old_files_back(server: RehearsedServer, question: str) -> None:
    began = time.monotonic()

    said = failure(agent(server, probe("two", probe=question, probe_seconds=1)))
    assert "did not succeed within 1 s" in said
    assert read(server) == "one\n"
    assert time.monotonic() - began < 30


def test_a_new_service_that_does_not_start_leaves_nothing_behind(server: RehearsedServer) -> None:
    unit = "/etc/systemd/system/late.service"
    files = (HostFile(path=unit, content="[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"),)

    failure(agent(server, Service(name="late", files=files, units=("late.service",))))
    assert server.run(f"test -e {unit}")[0] == 1
    assert server.run("systemctl list-units --failed --plain --no-legend")[1] == ""
    assert server.run("test -L /etc/systemd/system/multi-user.target.wants/late.service")[0] == 1


def test_a_service_that_did_not_run_before_does_not_run_after_a_failure(server: RehearsedServer) -> None:
    server.run("systemctl stop probe.service")

    failure(agent(server, probe("two", probe="false", probe_seconds=1)))
    assert server.run("systemctl is-active probe.service")[1] == "inactive\n"
    assert server.run("systemctl is-enabled probe.service")[1] == "enabled\n"


@pytest.mark.parametrize("on_change", ["restart", "reload"])
def test_a_changed_file_of_another_service_restarts_or_reloads_what_reads_it(server: RehearsedServer, on_change: str) -> None:
    unit = HostFile(
        path="/etc/systemd/system/probe.service", content=UNIT.replace("ExecStart=", "ExecReload=/usr/bin/touch /run/reloaded\nExecStart=")
    )
    files = (HostFile(path=CONFIGURATION, content="one\n"), unit)
    reader = probe(files=files, reads=(READ,), on_change=on_change)
    owner = Service(name="owner", files=(HostFile(path=READ, content="one\n"),))
    changed(agent(server, owner, reader))
    server.run("rm -f /run/reloaded")
    assert changed(agent(server, owner, reader)) == []
    before = main_process(server)

    # As when a run is cut off between the two.
    assert changed(agent(server, dataclasses.replace(owner, files=(HostFile(path=READ, content="two\n"),)))) == [READ]
    assert main_process(server) == before
    assert changed(agent(server, reader)) == [READ]
    assert (main_process(server) != before, server.run("test -e /run/reloaded")[0] == 0) == (on_change == "restart", on_change == "reload")
    assert changed(agent(server, reader)) == []


def test_a_file_counts_as_read_only_when_the_service_came_up_with_it(server: RehearsedServer) -> None:
    server.run(f"echo three > {READ}")
    assert "did not succeed within" in failure(agent(server, probe(reads=(READ,), probe="false", probe_seconds=1)))

    assert changed(agent(server, probe(reads=(READ,)))) == [READ]


def test_a_unit_is_masked_and_runs_again_when_it_is_wanted(server: RehearsedServer) -> None:
    assert changed(agent(server, Service(name="timer", masked=(TIMER,)))) == [TIMER]
    assert changed(agent(server, Service(name="timer", masked=(TIMER,)))) == []
    assert server.run(f"systemctl is-active {TIMER}")[1] == "inactive\n"

    assert changed(agent(server, Service(name="timer", units=(TIMER,)))) == [TIMER]
    assert changed(agent(server, Service(name="timer", units=(TIMER,)))) == []
    assert server.run(f"systemctl is-active {TIMER}")[1] == "active\n"


def test_a_task_that_does_not_do_what_it_is_for_is_an_error(server: RehearsedServer) -> None:
    said = failure(agent(server, probe(after=(Task(name="mark", unless="test -e /run/never", script="true"),))))
    assert "task “mark” failed" in said
    assert "does not hold afterwards" in said


def test_what_a_task_leaves_running_is_not_waited_for(server: RehearsedServer) -> None:
    task = Task(name="leave", unless="test -e /run/leaver", script="sleep 100 &\necho $! > /run/leaver")
    began = time.monotonic()

    assert changed(agent(server, probe(after=(task,)))) == ["leave"]
    assert time.monotonic() - began < 50
    assert server.run("kill $(cat /run/leaver); rm /run/leaver")[0] == 0


def test_what_was_interrupted_is_undone_first(phase: RehearsedPhase, server: RehearsedServer) -> None:
    process = started(phase, probe("two", before=(WAIT,)))
    wait_for_the_middle(server)
    assert read(server) == "two\n"
    # Nothing of it can clean up, as after a power cut.
    server.run("pkill --signal KILL --full 'python3 -I -c'; touch /run/go")
    process.communicate(timeout=30)
    assert process.returncode == 1
    journal = "/var/lib/rungway/previous/probe.json"
    server.run(f"cp --preserve {journal} /root/journal")

    # Whatever is asked for next.
    assert agent(server, Service(name="another"))[0] == {"event": "undone", "service": "probe"}
    assert read(server) == "one\n"
    assert changed(agent(server, probe())) == []
    # As if it had been interrupted again, at the very end.
    server.run(f"cp --preserve /root/journal {journal}")
    assert [answer["event"] for answer in agent(server, probe())] == ["undone", "converged"]
    assert read(server) == "one\n"
    assert server.run(f"test -e {journal}")[0] == 1


def test_two_at_once_are_refused(phase: RehearsedPhase, server: RehearsedServer) -> None:
    first = started(phase, probe("two", before=(WAIT,)))
    wait_for_the_middle(server)

    assert "another convergence is at work: root on " in error(ask(phase, probe("three")))
    server.run("touch /run/go")
    first.communicate(timeout=30)
    assert first.returncode == 0
    assert read(server) == "two\n"


def test_a_full_disk_changes_nothing(server: RehearsedServer) -> None:
    changed(agent(server, probe("x" * 200_000)))
    server.run("mount -t tmpfs -o size=64k tmpfs /var/lib/rungway")
    try:
        said = failure(agent(server, probe("two")))
    finally:
        server.run("umount /var/lib/rungway")
    assert said == "writing files failed: /var/lib/rungway/previous/probe.json: No space left on device"
    assert read(server) == "x" * 200_000 + "\n"
    assert server.run("ls -A /etc | grep rungway")[1] == ""


def test_a_disk_that_gets_full_half_way_is_said_and_undone_when_there_is_room(server: RehearsedServer) -> None:
    server.run("mkdir -p /etc/small; mount -t tmpfs -o size=64k tmpfs /etc/small; printf '%030000d' 0 > /etc/small/file")
    small = HostFile(path="/etc/small/file", content="short")
    fill = Task(name="fill", unless="false", script="dd if=/dev/zero of=/etc/small/filler bs=4k || true; exit 1")
    try:
        said = failure(agent(server, probe(files=(dataclasses.replace(small, content="x" * 200_000),), checks=())))
        assert "/etc/small/file: No space left on device" in said
        assert server.run("ls -A /etc/small")[1] == "file\n"

        said = failure(agent(server, probe(files=(small,), checks=(), before=(fill,))))
        assert "task “fill” failed" in said
        assert "The old files of probe could not be put back: /etc/small/file: No space left on device." in said
        server.run("rm /etc/small/filler")
        assert agent(server, Service(name="another"))[0] == {"event": "undone", "service": "probe"}
        assert server.run("wc --bytes < /etc/small/file; ls -A /etc/small")[1] == "30000\nfile\n"
    finally:
        server.run("umount /etc/small")


def test_a_mirror_that_is_down_is_one_error(server: RehearsedServer) -> None:
    server.run("mv /etc/apt/sources.list /etc/apt/kept; echo 'deb [trusted=yes] http://198.51.100.1:9/ ./' > /etc/apt/sources.list")
    # Its own retries take apt longer every time.
    server.run("mv /var/lib/apt/lists /var/lib/apt/kept; echo 'Acquire::Retries 0;' > /etc/apt/apt.conf.d/00-test")
    try:
        said = failure(agent(server, probe(packages=("hello",)), APT_PAUSE_SECONDS=0))
    finally:
        server.run("rm -rf /etc/apt/apt.conf.d/00-test /var/lib/apt/lists")
        server.run("mv /var/lib/apt/kept /var/lib/apt/lists; mv /etc/apt/kept /etc/apt/sources.list")
    assert said.startswith("installing packages failed: apt-get install hello failed 3 times:")
    assert server.run(f"test -e {POLICY}")[0] == 1


def test_an_installation_that_a_power_cut_ended_is_completed(server: RehearsedServer) -> None:
    server.run("dpkg --purge tree; touch /var/lib/dpkg/updates/0001")
    assert "dpkg was interrupted" in server.run("apt-get install --yes tree")[1]

    assert changed(agent(server, probe(packages=("tree",)))) == ["tree"]


def test_the_policy_that_an_interrupted_installation_left_goes_and_another_ones_stays(server: RehearsedServer) -> None:
    server.run(f"cat > {POLICY}; chmod 755 {POLICY}", stdin=POLICY_TEXT)
    changed(agent(server, probe()))
    assert server.run(f"test -e {POLICY}")[0] == 1

    server.run(f"dpkg --purge tree; echo theirs > {POLICY}; chmod 755 {POLICY}")
    try:
        changed(agent(server, probe(packages=("tree",))))
        assert read(server, f"{POLICY}*") == "theirs\n"
        # As if it had been interrupted.
        server.run(f"mv {POLICY} {POLICY}.before-rungway; cat > {POLICY}", stdin=POLICY_TEXT)
        changed(agent(server, probe()))
        assert read(server, f"{POLICY}*") == "theirs\n"
    finally:
        server.run(f"rm -f {POLICY}*")


def test_a_secret_is_nowhere_to_be_seen(phase: RehearsedPhase, server: RehearsedServer) -> None:
    """Not among the processes while a check, a task and a probe use it, not in the journal, and not in an error that repeats it."""
    looks = f"""\
wanted={secret("password")}
for file in /proc/[0-9]*/cmdline; do
  if [[ "$(tr '\\0' ' ' < $file 2>/dev/null)" == *"$wanted"* ]]; then echo "seen in $file"; exit 1; fi
done
"""
    task = Task(name="look", unless="test -e /run/looked", script=f"{looks}touch /run/looked")
    wanted = probe(
        f"with {secret('password')}",
        checks=(looks,),
        before=(task,),
        probe=looks,
        after=(Task(name="say", unless="false", script=f"{looks}echo it is $wanted; exit 1"),),
    )

    said = error(ask(phase, wanted))
    assert "it is [secret]" in said
    assert phase.secrets["password"] in read(server)
    assert phase.secrets["password"] not in said
    assert server.run(f"journalctl --no-pager | grep --quiet {phase.secrets['password']}")[0] == 1


def test_a_power_cut_of_a_server_that_was_just_switched_on_ends(phase: RehearsedPhase, server: RehearsedServer) -> None:
    server.power_cut()
    server.power_on()
    cut = Thread(target=server.power_cut, daemon=True)
    cut.start()
    cut.join(30)
    assert not cut.is_alive()
    server.power_on()
    assert not changes(ask(phase, probe()))
