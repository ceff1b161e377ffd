"""A server's processes are in a cgroup of their own in whichever version the kernel has, and end with it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rungway.rehearsal import cgroups
from rungway.rehearsal.cgroups import enter_command, kill_all, remove_cgroup

GROUP = f"test-cgroups-{os.getpid()}"


@pytest.fixture(params=["as it is", "version 2"])
def _version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Both what this machine has and the hierarchy of version 2, which every kernel can mount beside it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make cgroups")
    if request.param == "version 2":
        with _mounted(tmp_path):
            monkeypatch.setattr(cgroups, "CGROUPS", tmp_path)
            yield
    else:
        yield
        kill_all(GROUP)
        remove_cgroup(GROUP)


@contextmanager
def _mounted(path: Path) -> Iterator[None]:
    """The hierarchy of version 2. Its root passes on afterwards what it did before."""
    subprocess.run(["mount", "-t", "cgroup2", "none", str(path)], check=True)
    control = path / "cgroup.subtree_control"
    before = set(control.read_text().split())
    try:
        yield
    finally:
        kill_all(GROUP)
        remove_cgroup(GROUP)
        for controller in set(control.read_text().split()) - before:
            control.write_text(f"-{controller}")
        subprocess.run(["umount", str(path)], check=True)


def _start(group: str) -> subprocess.Popen[str]:
    """A process in the group, with a child."""
    process = subprocess.Popen(
        ["sh", "-c", f"{enter_command(group)} sleep 300 & echo started; wait"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def _close(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.usefixtures("_version")
def test_everything_in_a_cgroup_ends_with_it_and_nothing_else() -> None:
    first, second = _start(f"{GROUP}/first"), _start(f"{GROUP}/second")
    kill_all(f"{GROUP}/first")

    assert first.wait(10) == -9
    assert second.poll() is None
    kill_all(GROUP)
    assert second.wait(10) == -9
    remove_cgroup(GROUP)
    assert not [*cgroups.CGROUPS.glob(f"**/{GROUP}")]
    for process in (first, second):
        _close(process)


@pytest.mark.usefixtures("_version")
def test_a_cgroup_can_be_entered_again() -> None:
    for _ in range(2):
        process = _start(f"{GROUP}/server")
        kill_all(f"{GROUP}/server")
        assert process.wait(10) == -9
        _close(process)


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A cgroup of version 2 that looks like a container's root: with a process of its own, and controllers that can be passed on."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make cgroups")
    with _mounted(tmp_path):
        controllers = (tmp_path / "cgroup.controllers").read_text().split()
        if not controllers:
            pytest.skip("version 1 has every controller of this machine, so that none can be passed on in version 2")
        for controller in controllers:
            (tmp_path / "cgroup.subtree_control").write_text(f"+{controller}")
        root = tmp_path / GROUP
        root.mkdir()
        enter = f"echo $$ > {root}/cgroup.procs; echo in; exec sleep 300"
        with subprocess.Popen(["sh", "-c", enter], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "in\n"
            with monkeypatch.context() as patch:
                patch.setattr(cgroups, "CGROUPS", root)
                yield root
            process.kill()
        # Of the container's cgroup, as `_mounted` knows the mounted one alone.
        monkeypatch.setattr(cgroups, "CGROUPS", tmp_path)


def test_servers_in_a_container_get_every_controller(container: Path) -> None:
    """The kernel refuses that to a cgroup with processes of its own, so that they must move first."""
    controllers = (container / "cgroup.controllers").read_text().split()
    with pytest.raises(OSError, match="busy"):
        (container / "cgroup.subtree_control").write_text(f"+{controllers[0]}")
    process = _start("servers/one")

    assert (container / "servers/one/cgroup.controllers").read_text().split() == controllers
    assert (container / "cgroup.procs").read_text() == ""
    assert len((container / cgroups.OURS / "cgroup.procs").read_text().split()) == 1
    # What systemd-nspawn does next: two cgroups below the server's, its own processes moved there, and the controllers passed on again.
    payload = container / "servers/one/payload"
    payload.mkdir()
    for number in (container / "servers/one/cgroup.procs").read_text().split():
        (payload / "cgroup.procs").write_text(number)
    for controller in controllers:
        (container / "servers/one/cgroup.subtree_control").write_text(f"+{controller}")
    assert (payload / "cgroup.controllers").read_text().split() == controllers
    # A second server of the same rehearsal, when nothing has to move any more.
    second = _start("servers/two")
    assert (container / "servers/two/cgroup.controllers").read_text().split() == controllers
    kill_all("servers")
    assert [process.wait(10), second.wait(10)] == [-9, -9]
    for each in (process, second):
        _close(each)
