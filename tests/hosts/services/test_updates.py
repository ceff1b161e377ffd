"""Updates: security alone, and no two servers of a stack away at the same time."""

import itertools
import subprocess
from pathlib import Path

import pytest

from hosts.services.updates import SLOT_MINUTES, slot, updates
from hosts.specification import Peer
from tests.support.minimal_host import minimal_host


def _slots(names: list[str]) -> list[tuple[int, int]]:
    return [slot(minimal_host(name=name, peers=tuple(Peer(other, "app", None) for other in names if other != name))) for name in names]


def test_the_servers_of_a_stack_take_turns_whatever_their_role() -> None:
    names = ["app-eu-1", "app-eu-2", "database-eu-1", "database-eu-2", "monitoring-eu-1", "app-us-1"]
    slots = _slots(names)
    assert len(set(slots)) == len(names)
    assert min(slots) == (2, 0)
    minutes = sorted(hour * 60 + minute for hour, minute in slots)
    assert {later - earlier for earlier, later in itertools.pairwise(minutes)} == {SLOT_MINUTES}


def test_a_large_stack_goes_round_the_day_and_every_time_is_one_of_a_clock() -> None:
    slots = _slots([f"kubernetes-eu-{number:03}" for number in range(80)])
    assert len(set(slots)) == 72
    assert slots[72] == slots[0]
    assert all(0 <= hour < 24 and 0 <= minute < 60 for hour, minute in slots)


def test_the_timer_has_this_time_alone() -> None:
    timer = updates(minimal_host(peers=(Peer("a", "app", None),))).files[1].content
    assert "OnCalendar=\nOnCalendar=*-*-* 02:20:00 UTC\nRandomizedDelaySec=0\n" in timer


def test_only_security_updates_come_by_themselves() -> None:
    text = updates(minimal_host()).files[0].content
    assert text.index("#clear Unattended-Upgrade::Origins-Pattern;") < text.index("Unattended-Upgrade::Origins-Pattern {")
    assert text.count('"origin=') == 1
    assert "Debian-Security" in text


def test_apt_reads_the_file_after_those_of_the_packages() -> None:
    name = updates(minimal_host()).files[0].path.rsplit("/", 1)[1]
    assert name > "50unattended-upgrades"
    assert "." not in name, "apt skips files with another extension than conf"


@pytest.mark.parametrize(
    ("root", "mapping", "restarts"),
    [
        ("/", "/usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)", True),
        ("/", "/usr/lib/x86_64-linux-gnu/libssl.so.3", False),
        ("/", "/memfd:cache (deleted)", False),
        ("/usr", "/usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)", False),
    ],
    ids=["replaced", "current", "memory that never was a library", "in a container"],
)
def test_a_replaced_library_that_is_still_in_use_restarts_the_server(root: str, mapping: str, restarts: bool, tmp_path: Path) -> None:
    script = next(file for file in updates(minimal_host()).files if file.path == "/usr/local/sbin/restart-after-upgrade")
    assert script.mode == 0o755
    process = tmp_path / "42"
    process.mkdir()
    (process / "root").symlink_to(root)
    (process / "comm").write_text("nginx\n")
    (process / "maps").write_text(f"7f00-7f01 r-xp 00000000 fe:01 1234 {mapping}\n")
    systemctl = tmp_path / "systemctl"
    systemctl.write_text('#!/bin/sh\necho "systemctl $*"\n')
    systemctl.chmod(0o755)
    text = script.content.replace("/proc", str(tmp_path))
    done = subprocess.run(["bash", "-c", text], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    said = "nginx still runs a replaced library: the server restarts\nsystemctl reboot\n"
    assert done.stdout == (said if restarts else "")
