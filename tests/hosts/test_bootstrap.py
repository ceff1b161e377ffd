"""User data of a server: what cloud-init reads, what is refused, and the script that looks for the data volume, run for real."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hosts.bootstrap import bootstrap_user_data
from hosts.configuration import HostFile
from tests.support.debian_root import Answer, Command, DebianRoot, Step

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkdGVzdGtleXRlc3RrZXl0ZXN0a2V5dGVzdGtleXRl admin@example.com"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
needs_filesystem_tools = pytest.mark.skipif(
    not all(shutil.which(tool, path=SYSTEM_PATH) for tool in ("bash", "cmp", "mkfs.ext4", "wipefs", "timeout")),
    reason="needs bash, cmp, mkfs.ext4, wipefs and timeout",
)


def _user_data(**changes: Any) -> str:
    arguments: dict[str, Any] = {"hostname": "app-eu-1", "public_keys": [KEY], "provider": "hetzner", "data_mount": "/srv/data"}
    return bootstrap_user_data(**(arguments | changes))


def _config(**changes: Any) -> dict[str, Any]:
    user_data = _user_data(**changes)
    assert user_data.startswith("#cloud-config\n")
    config: dict[str, Any] = YAML(typ="safe", pure=True).load(user_data)
    return config


def _files(**changes: Any) -> dict[str, str]:
    return {file["path"]: file["content"] for file in _config(**changes)["write_files"]}


def test_one_administrator_with_the_keys_and_no_password() -> None:
    config = _config(admin_user="operator")

    assert config["users"] == ["default"]
    assert config["user"] == {
        "name": "operator",
        "gecos": "Administrator",
        "groups": ["adm", "sudo"],
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "lock_passwd": True,
        "ssh_authorized_keys": [KEY],
    }
    assert (config["hostname"], config["disable_root"], config["ssh_pwauth"]) == ("app-eu-1", True, False)


def test_ssh_takes_keys_only_and_never_root() -> None:
    lines = _files()["/etc/ssh/sshd_config.d/00-bootstrap.conf"].splitlines()

    assert {
        "PermitRootLogin no",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "AllowUsers admin",
        "AllowTcpForwarding local",
    } <= set(lines)


def test_the_volume_is_mounted_without_holding_up_the_boot() -> None:
    config = _config(data_mount="/srv/data")
    files = _files(data_mount="/srv/data")

    assert config["runcmd"] == [
        ["systemctl", "reload-or-restart", "ssh.service"],
        ["systemctl", "daemon-reload"],
        ["systemctl", "enable", "srv-data.mount"],
        ["systemctl", "start", "--no-block", "srv-data.mount"],
    ]
    assert "Where=/srv/data\n" in files["/etc/systemd/system/srv-data.mount"]
    assert "DefaultDependencies=no\n" in files["/etc/systemd/system/srv-data.mount"]
    assert "ExecStart=/usr/local/sbin/find-data-volume\n" in files["/etc/systemd/system/find-data-volume.service"]


@pytest.mark.parametrize(
    ("provider", "links"),
    [("hetzner", "/dev/disk/by-id/scsi-0HC_Volume_*"), ("digitalocean", "/dev/disk/by-id/scsi-0DO_Volume_*")],
)
def test_the_volume_is_found_by_the_providers_own_link(provider: str, links: str) -> None:
    assert f"for link in {links}; do" in _files(provider=provider)["/usr/local/sbin/find-data-volume"]


def test_a_server_without_a_volume_waits_for_none() -> None:
    assert list(_files(data_mount=None)) == ["/etc/ssh/sshd_config.d/00-bootstrap.conf"]
    assert _config(data_mount=None)["runcmd"] == [["systemctl", "reload-or-restart", "ssh.service"]]


def test_the_same_arguments_give_the_same_text() -> None:
    assert _user_data() == _user_data()


def test_names_from_all_over_the_world_survive_as_ascii() -> None:
    keys = [f"{KEY} jürgen", f"{KEY} 日本", f"{KEY} 😀"]

    assert _user_data(public_keys=keys).isascii()
    assert _config(public_keys=keys)["user"]["ssh_authorized_keys"] == keys


def test_keys_may_come_from_the_provider_alone() -> None:
    assert "ssh_authorized_keys" not in _config(public_keys=[])["user"]


def test_user_data_stays_below_what_every_provider_takes() -> None:
    room = 32 * 1024 - 1 - len(_user_data(public_keys=["k"]))
    assert len(_user_data(public_keys=["k" * (room + 1)])) == 32_767

    message = "app-eu-1: user data: found 32768 bytes; allowed: fewer than 32768; give fewer or shorter public keys"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        _user_data(public_keys=["k" * (room + 2)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hostname": "App_1"}, "hostname: found 'App_1'; allowed: 1 to 63 lower-case letters, digits and inner hyphens"),
        (
            {"admin_user": "root"},
            "app-eu-1: admin_user: found 'root'; allowed: 1 to 32 lower-case letters, digits, hyphens and underscores, not root",
        ),
        ({"provider": "aws"}, "app-eu-1: provider: found 'aws'; allowed: digitalocean, hetzner"),
        (
            {"data_mount": "/srv/my-data"},
            "app-eu-1: data_mount: found '/srv/my-data'; allowed: an absolute path of lower-case letters, digits and underscores",
        ),
        (
            {"public_keys": [KEY, f"{KEY}\n{KEY}"]},
            "app-eu-1: public_keys[1]: not one line of printable text, or a private key; allowed: an OpenSSH public key",
        ),
        (
            {"public_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]},
            "app-eu-1: public_keys[0]: not one line of printable text, or a private key; allowed: an OpenSSH public key",
        ),
        (
            {"provider": "aws", "data_mount": "srv"},
            "app-eu-1: provider: found 'aws'; allowed: digitalocean, hetzner\n"
            "app-eu-1: data_mount: found 'srv'; allowed: an absolute path of lower-case letters, digits and underscores",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        _user_data(**changes)


def _schema(root: DebianRoot, user_data: str) -> Answer:
    """What cloud-init itself says about user data."""
    file = HostFile(path="/etc/user-data", content=user_data)
    (answer,) = root.run([Step(files=(file,), commands=(Command("schema", f"cloud-init schema --config-file {file.path}"),))])
    return answer


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data_mount": None},
        {"provider": "digitalocean"},
        {"admin_user": "operator"},
        {"public_keys": []},
    ],
)
def test_cloud_init_accepts_the_user_data(changes: dict[str, Any], debian_root: DebianRoot) -> None:
    answer = _schema(debian_root, _user_data(**changes))

    assert answer.code == 0, answer.said


def test_cloud_init_refuses_what_it_does_not_know(debian_root: DebianRoot) -> None:
    answer = _schema(debian_root, _user_data() + "ssh_pwauth_too: [true\n")

    assert answer.code != 0


def test_systemd_accepts_the_units_and_finds_no_cycle_at_boot(debian_root: DebianRoot) -> None:
    files = tuple(HostFile(path=path, content=content, mode=0o755 if "/sbin/" in path else 0o644) for path, content in _files().items())
    units = [Path(file.path).name for file in files if file.path.startswith("/etc/systemd/system/")]
    verify = Command("verify", f"systemd-analyze verify --man=no {' '.join(units)} multi-user.target")

    (answer,) = debian_root.run([Step(files=files, commands=(verify,))])

    assert (len(units), answer.code, answer.said) == (2, 0, "")


class _Machine:
    """A directory that stands for /dev/disk/by-id, with files of 65 MiB as volumes, and the script that is let loose on it."""

    def __init__(self, root: Path) -> None:
        self.links = root / "by-id"
        self.links.mkdir()
        self.linked = root / "data-volume"
        self._script = root / "find-data-volume"
        script = _files()["/usr/local/sbin/find-data-volume"]
        script = script.replace("/dev/disk/by-id", str(self.links)).replace("/run/data-volume", str(self.linked))
        self._script.write_text(script.replace("udevadm settle", "true"))

    def attach(self, name: str) -> Path:
        volume = self.links.parent / f"disk-{name}"
        with volume.open("wb") as file:
            file.truncate(65 * 1024 * 1024)
        (self.links / f"scsi-0HC_Volume_{name}").symlink_to(volume)
        return volume

    def run(self, seconds: int = 20) -> subprocess.CompletedProcess[str]:
        command = ["timeout", str(seconds), "bash", str(self._script)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": SYSTEM_PATH})


@pytest.fixture
def machine(tmp_path: Path) -> _Machine:
    return _Machine(tmp_path)


def _has_ext4(volume: Path) -> bool:
    """The superblock's magic number, 0xEF53, is 56 bytes into the superblock at 1024."""
    with volume.open("rb") as file:
        file.seek(1024 + 56)
        return file.read(2) == b"\x53\xef"


@needs_filesystem_tools
def test_a_blank_volume_gets_a_filesystem(machine: _Machine) -> None:
    volume = machine.attach("1")

    result = machine.run()

    assert (result.returncode, result.stderr) == (0, "")
    assert _has_ext4(volume)
    assert machine.linked.resolve() == volume


@needs_filesystem_tools
def test_a_volume_with_a_filesystem_is_used_as_it_is(machine: _Machine) -> None:
    volume = machine.attach("1")
    machine.run()
    before = volume.read_bytes()
    machine.linked.unlink()

    assert machine.run().returncode == 0
    assert volume.read_bytes() == before
    assert machine.linked.resolve() == volume


@needs_filesystem_tools
def test_a_volume_with_data_but_no_known_filesystem_is_not_touched(machine: _Machine) -> None:
    volume = machine.attach("1")
    with volume.open("r+b") as file:
        file.seek(50 * 1024 * 1024)
        file.write(b"somebody's data")
    before = volume.read_bytes()

    result = machine.run()

    assert result.returncode == 1
    assert result.stderr == f"{volume} has no filesystem that is known, and is not blank; not touched\n"
    assert volume.read_bytes() == before
    assert not machine.linked.exists()


@needs_filesystem_tools
@pytest.mark.parametrize("attached", [0, 2])
def test_it_waits_until_exactly_one_volume_is_there(machine: _Machine, attached: int) -> None:
    volumes = [machine.attach(str(number)) for number in range(attached)]

    result = machine.run(seconds=1)

    assert result.returncode == 124
    assert result.stdout == f"data volumes attached: {attached}; needed: exactly 1; waiting\n"
    assert not any(_has_ext4(volume) for volume in volumes)


@needs_filesystem_tools
def test_the_link_of_a_partition_is_no_volume(machine: _Machine) -> None:
    machine.attach("1")
    machine.attach("1-part1")

    assert machine.run().returncode == 0
