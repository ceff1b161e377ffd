"""What a machine lacks is said at once and in full, before anything is started."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest

from rungway.errors import RungwayError
from rungway.rehearsal import machine, rehearse
from rungway.rehearsal.machine import (
    DISK_BASE_GB,
    MEMORY_BASE_MB,
    MEMORY_PER_SERVER_MB,
    TOOLS,
    WATCHES,
    allow_watches,
    check_machine,
    find_system_programs,
    kernel_lacks,
)


@pytest.fixture(autouse=True)
def _enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has everything."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool, **_: f"/usr/bin/{tool}")
    monkeypatch.setattr(machine, "_available_memory_mb", lambda: 64_000)
    monkeypatch.setattr(machine, "_free_disk_gb", lambda _: 500)


def _refusal(servers: int = 2) -> str:
    with pytest.raises(RungwayError, match=r"^rehearsal: ") as caught:
        check_machine(servers, Path("/var/cache/rungway"))
    assert "docs/rehearsal.md" in caught.value.hint
    return str(caught.value).removeprefix("rehearsal: ")


def test_a_machine_that_has_everything_is_taken() -> None:
    check_machine(18, Path("/var/cache/rungway"))


def test_root_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert _refusal() == "found a user without root's rights; needed: root, to boot servers in namespaces of their own"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_missing_program_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == tool else name)

    assert _refusal() == f"not installed: {TOOLS[tool]} (Debian or Ubuntu: apt-get install {TOOLS[tool]})"


def test_programs_are_found_where_root_has_them_by_the_check_and_by_who_calls_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/sbin")

    for _ in range(2):
        find_system_programs()
        assert os.environ["PATH"] == "/usr/bin:/sbin:/usr/sbin"


def test_a_rehearsal_is_checked_with_the_path_that_it_runs_with(monkeypatch: pytest.MonkeyPatch, in_project: Path) -> None:
    def checked(*_: object, **__: object) -> None:
        raise RungwayError(os.environ["PATH"])

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(rehearse, "check_machine", checked)
    with pytest.raises(RungwayError, match=r"^/nowhere:/usr/sbin:/sbin$"):
        next(rehearse.rehearsed("mvp", print))


def test_memory_is_counted_by_server(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = MEMORY_BASE_MB + 6 * MEMORY_PER_SERVER_MB
    monkeypatch.setattr(machine, "_available_memory_mb", lambda: needed - 1)

    assert _refusal(6) == f"found {needed - 1} MiB of free memory; needed: {needed} MiB for 6 servers"
    check_machine(5, Path("/var/cache/rungway"))


def test_disk_is_counted_by_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_free_disk_gb", lambda _: DISK_BASE_GB + 5)

    assert _refusal(6) == f"found {DISK_BASE_GB + 5} GB free at /var/cache/rungway; needed: {DISK_BASE_GB + 6} GB"
    check_machine(5, Path("/var/cache/rungway"))


def test_all_problems_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(machine, "_available_memory_mb", lambda: 0)
    monkeypatch.setattr(machine, "_free_disk_gb", lambda _: 0)

    problems = _refusal().split("; found ")

    assert len(problems) == 3
    packages = " ".join(sorted(set(TOOLS.values())))
    assert f"apt-get install {packages})" in problems[0]


@pytest.mark.parametrize(("missing", "lacks"), [("netem", ["netem"]), ("wireguard", ["WireGuard in the kernel"]), ("", [])])
def test_what_the_kernel_cannot_do_is_named(monkeypatch: pytest.MonkeyPatch, missing: str, lacks: list[str]) -> None:
    monkeypatch.setattr(machine, "_in_namespace", lambda script: not missing or missing not in script)

    found = kernel_lacks()

    assert [lack.what for lack in found] == lacks
    assert all(lack.consequence for lack in found)


@pytest.mark.parametrize(("kernel", "device", "enough"), [(True, False, True), (False, True, True), (False, False, False)])
def test_links_between_regions_need_the_kernel_or_a_device_for_a_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kernel: bool, device: bool, enough: bool
) -> None:
    monkeypatch.setattr(machine, "_in_namespace", lambda _: kernel)
    monkeypatch.setattr(machine, "TUNNEL_DEVICE", tmp_path if device else tmp_path / "tun")

    check_machine(1, tmp_path)
    if enough:
        check_machine(1, tmp_path, links=True)
    else:
        with pytest.raises(RungwayError, match=r"found a kernel without WireGuard and no .*tun; needed: one of them"):
            check_machine(1, tmp_path, links=True)


@pytest.mark.parametrize(("found", "left"), [(128, WATCHES), (WATCHES, WATCHES), (65_536, 65_536)])
def test_too_few_inotify_instances_become_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: int, left: int) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text(f"{found}\n")
    monkeypatch.setattr(machine, "WATCH_LIMIT", limit)

    allow_watches()

    assert int(limit.read_text()) == left


def test_a_limit_that_stays_too_low_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n")
    monkeypatch.setattr(machine, "WATCH_LIMIT", limit)
    monkeypatch.setattr(Path, "write_text", read_only)

    with pytest.raises(RungwayError, match=f"found .*max_user_instances = 128; needed: {WATCHES}; .*: Read-only file system") as caught:
        allow_watches()
    assert "sysctl" in caught.value.hint


def test_memory_is_read_from_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    text = Path("/proc/meminfo").read_text()
    total_kb = int(re.findall(r"MemTotal: +(\d+)", text)[0])

    assert 0 < machine._available_memory_mb() <= total_kb // 1024


def test_the_disk_is_that_of_the_nearest_folder_that_exists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()

    assert machine._free_disk_gb(tmp_path / "not" / "yet") == shutil.disk_usage(tmp_path).free // 1_000_000_000
