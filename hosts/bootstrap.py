"""What a server does on its first boot, as cloud-init user data for Debian 13.

Only what must be true before anybody can reach it: an administrator with public keys, SSH by key alone, and the data volume mounted.
Everything else is converged over SSH afterwards, because user data is read once and a changed one would replace the server.
"""

import json
import re
from collections.abc import Sequence

MAXIMUM_BYTES = 32 * 1024
"""Hetzner takes up to 32 KiB of user data, DigitalOcean 64 KiB; a server must be able to move."""

VOLUME_LINKS = {
    "hetzner": "/dev/disk/by-id/scsi-0HC_Volume_*",
    "digitalocean": "/dev/disk/by-id/scsi-0DO_Volume_*",
}
"""The links that udev makes for an attached volume, by provider. Partitions have such a link too, ending in -part and a number."""

_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_MOUNT_POINT = re.compile(r"(/[a-z0-9_]+)+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")

_SSHD = """\
# The first value that sshd reads for a keyword wins, and this file is read first.
PermitRootLogin no
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
AllowUsers {admin_user}
X11Forwarding no
AllowAgentForwarding no
# Administrators reach private servers through this one (ProxyJump).
AllowTcpForwarding local
LoginGraceTime 30
ClientAliveInterval 300
ClientAliveCountMax 2
"""

_FIND_VOLUME = """\
#!/bin/bash
# Waits for the only attached data volume and links it to /run/data-volume. It makes a filesystem on a blank volume, and on no other.
set -euo pipefail
shopt -s nullglob

said=""
while true; do
  udevadm settle --timeout=10 || true
  found=()
  for link in {volume_links}; do
    if [[ ! "$link" =~ -part[0-9]+$ ]]; then found+=("$link"); fi
  done
  if [ "${{#found[@]}}" -eq 1 ]; then break; fi
  if [ "${{#found[@]}}" != "$said" ]; then
    said="${{#found[@]}}"
    echo "data volumes attached: $said; needed: exactly 1; waiting"
  fi
  sleep 2
done

device="$(readlink --canonicalize-existing "${{found[0]}}")"
# wipefs lists every signature (filesystem, partition table, LVM, RAID) and fails where the device can't be read.
signatures="$(wipefs --no-act --noheadings "$device")"
if [ -z "$signatures" ]; then
  # A damaged filesystem can have lost its signature, so no signature is not enough: only zeros are blank.
  if ! cmp --silent --bytes=67108864 "$device" /dev/zero; then
    echo "$device has no filesystem that is known, and is not blank; not touched" >&2
    exit 1
  fi
  mkfs.ext4 -q "$device"
fi
ln --symbolic --force --no-dereference "$device" /run/data-volume
"""

_FIND_VOLUME_UNIT = """\
[Unit]
Description=Wait for the data volume

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/find-data-volume
TimeoutStartSec=infinity
"""

# Without the default dependencies the mount is not part of local-fs.target: a missing volume must never keep sshd from starting.
_MOUNT_UNIT = """\
[Unit]
Description=Data volume
DefaultDependencies=no
Requires=find-data-volume.service
After=find-data-volume.service
Conflicts=umount.target
Before=umount.target

[Mount]
What=/run/data-volume
Where={data_mount}
Options=noatime,nodev,nosuid

[Install]
WantedBy=multi-user.target
"""


def bootstrap_user_data(
    *, hostname: str | None, admin_user: str = "admin", public_keys: Sequence[str], provider: str, data_mount: str | None
) -> str:
    """The user data of one server: cloud-config, ASCII, the same for the same arguments, and nothing secret in it.

    Without a `hostname` servers keep the name that the provider's metadata gives them, so that several can share one user data.

    `public_keys` are the administrators' SSH public keys, a line each, in OpenSSH's form. Keys that the provider already knows
    reach the same user by way of the provider, so the list may be empty. `data_mount` is where the only attached volume is mounted
    ('/srv/data'), None for a server without a volume. The volume may come at any time: the mount waits for it and the boot doesn't.

    Raises:
        ValueError: a name, key, provider or mount point that can't be used, or 32 KiB and more of user data; the text lists all
            problems, a line each.
    """
    subject = hostname or "user data"
    problems = [
        *_name_problems(hostname, subject, admin_user),
        *_key_problems(subject, public_keys),
        *_volume_problems(subject, provider, data_mount),
    ]
    if problems:
        raise ValueError("\n".join(problems))
    files = [_file("/etc/ssh/sshd_config.d/00-bootstrap.conf", "0644", _SSHD.format(admin_user=admin_user))]
    commands = [["systemctl", "reload-or-restart", "ssh.service"]]
    if data_mount:
        unit = data_mount.strip("/").replace("/", "-") + ".mount"
        files += [
            _file("/usr/local/sbin/find-data-volume", "0755", _FIND_VOLUME.format(volume_links=VOLUME_LINKS[provider])),
            _file("/etc/systemd/system/find-data-volume.service", "0644", _FIND_VOLUME_UNIT),
            _file(f"/etc/systemd/system/{unit}", "0644", _MOUNT_UNIT.format(data_mount=data_mount)),
        ]
        # Not waited for: the volume is attached only after the server exists.
        commands += [["systemctl", "daemon-reload"], ["systemctl", "enable", unit], ["systemctl", "start", "--no-block", unit]]
    user_data = _cloud_config(
        {
            **({"hostname": hostname} if hostname is not None else {}),
            "manage_etc_hosts": "localhost",
            "disable_root": True,
            "ssh_pwauth": False,
            # The default user under our name: cloud-init gives the provider's own keys to the default user alone.
            "user": {
                "name": admin_user,
                "gecos": "Administrator",
                "groups": ["adm", "sudo"],
                "shell": "/bin/bash",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "lock_passwd": True,
                # cloud-init refuses an empty list.
                **({"ssh_authorized_keys": list(public_keys)} if public_keys else {}),
            },
            "users": ["default"],
            "write_files": files,
            "runcmd": commands,
        }
    )
    if len(user_data) >= MAXIMUM_BYTES:
        raise ValueError(
            f"{subject}: user data: found {len(user_data)} bytes; allowed: fewer than {MAXIMUM_BYTES}; give fewer or shorter public keys"
        )
    return user_data


def _name_problems(hostname: str | None, subject: str, admin_user: str) -> list[str]:
    problems = []
    if hostname is not None and not _HOST_NAME.fullmatch(hostname):
        problems.append(f"hostname: found {hostname!r}; allowed: 1 to 63 lower-case letters, digits and inner hyphens")
    if not _USER_NAME.fullmatch(admin_user) or admin_user == "root":
        problems.append(
            f"{subject}: admin_user: found {admin_user!r}; allowed: 1 to 32 lower-case letters, digits, hyphens and underscores, not root"
        )
    return problems


def _key_problems(subject: str, public_keys: Sequence[str]) -> list[str]:
    # The key itself stays out of the text: somebody may have pasted a private one.
    return [
        f"{subject}: public_keys[{index}]: not one line of printable text, or a private key; allowed: an OpenSSH public key"
        for index, key in enumerate(public_keys)
        if not key.strip() or not key.isprintable() or "PRIVATE KEY" in key
    ]


def _volume_problems(subject: str, provider: str, data_mount: str | None) -> list[str]:
    problems = []
    if provider not in VOLUME_LINKS:
        problems.append(f"{subject}: provider: found {provider!r}; allowed: {', '.join(sorted(VOLUME_LINKS))}")
    if data_mount is not None and not _MOUNT_POINT.fullmatch(data_mount):
        problems.append(
            f"{subject}: data_mount: found {data_mount!r}; allowed: an absolute path of lower-case letters, digits and underscores"
        )
    return problems


def _file(path: str, permissions: str, content: str) -> dict[str, str]:
    return {"path": path, "owner": "root:root", "permissions": permissions, "content": content}


def _cloud_config(config: dict[str, object]) -> str:
    """JSON is YAML. What is not ASCII stands only inside its strings, where YAML knows \\U and eight digits.

    JSON's own \\u escapes would not do: YAML reads the two halves of an astral character as two characters.
    """
    text = json.dumps(config, indent=1, ensure_ascii=False)
    return "#cloud-config\n" + _NOT_ASCII.sub(lambda match: f"\\U{ord(match[0]):08x}", text) + "\n"
