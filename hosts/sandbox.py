"""What a systemd unit of ours can't do, so that a hole in a service is not a hole in the server.

Debian's own units come with their packages' settings; these lines are for units that we write, and for drop-ins to Debian's that have none.
"""

from collections.abc import Sequence
from typing import Literal

Network = Literal["none", "loopback", "any"]
"""What a service talks to: nothing, this server alone, or anybody that the firewall allows. Unix sockets are always open to it."""

DENIED: tuple[tuple[str, str], ...] = (
    ("NoNewPrivileges=yes", "setuid programs, sudo among them, give it nothing"),
    ("ProtectSystem=strict", "the whole file system is read-only but for what is listed"),
    ("ProtectHome=yes", "administrators' keys are not its business"),
    ("PrivateTmp=yes", "no files in /tmp that others can guess, and none that stay"),
    ("PrivateDevices=yes", "no disks, no memory, no raw hardware"),
    ("DevicePolicy=closed", "the same, by control group"),
    ("ProtectProc=invisible", "other accounts' processes and their command lines are not there"),
    ("ProtectClock=yes", "the clock is chrony's"),
    ("ProtectHostname=yes", "so is the name the first boot's"),
    ("ProtectControlGroups=yes", "it can't raise its own limits"),
    ("ProtectKernelLogs=yes", "the kernel's log tells addresses"),
    ("ProtectKernelModules=yes", "no code into the kernel"),
    ("ProtectKernelTunables=yes", "sysctl is the kernel service's"),
    ("LockPersonality=yes", "no old execution domains with fewer protections"),
    ("MemoryDenyWriteExecute=yes", "what was written can't be executed; a service that compiles at run time can't have this"),
    ("RestrictNamespaces=yes", "no containers of its own, from which the kernel can be reached more widely"),
    ("RestrictRealtime=yes", "it can't take a processor for itself"),
    ("RestrictSUIDSGID=yes", "it leaves no setuid file behind"),
    ("RemoveIPC=yes", "no shared memory stays when it ends"),
    ("KeyringMode=private", "no keys of other services"),
    ("UMask=0077", "what it writes is its own"),
    ("SystemCallArchitectures=native", "the 32-bit system calls are less tested"),
    ("SystemCallFilter=@system-service", "the system calls that services use (systemd.exec)"),
    ("SystemCallFilter=~@privileged @resources", "without those that need root or take resources from others"),
    ("SystemCallErrorNumber=EPERM", "a refused call is an error that the log shows, not a death"),
)
"""Each line with its reason (systemd.exec(5), systemd.resource-control(5))."""


def sandbox(*, writable: Sequence[str] = (), network: Network = "any", capabilities: Sequence[str] = ()) -> tuple[str, ...]:
    """The lines of a unit's [Service] section.

    `writable` are directories besides those of StateDirectory and the like; a leading '-' allows one to be missing. `capabilities`
    are kept, and given to a process that is not root, for example 'CAP_NET_BIND_SERVICE'.
    """
    kept = " ".join(capabilities)
    lines = [line for line, _ in DENIED]
    lines += [f"ReadWritePaths={' '.join(writable)}"] if writable else []
    lines += [f"CapabilityBoundingSet={kept}", f"AmbientCapabilities={kept}"]
    return (*lines, *_NETWORK[network])


_NETWORK: dict[Network, tuple[str, ...]] = {
    "none": ("PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"),
    "loopback": ("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", "IPAddressDeny=any", "IPAddressAllow=localhost"),
    "any": ("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",),
}
