"""The kernel: what it tells and allows to programs that are not root, what it takes from the network, and the tuning of its services."""

from hosts.configuration import HostFile, Service
from hosts.specification import HostSpecification
from hosts.templating import render_template
from hosts.tuning import SYSCTL, tuned

SYSCTL_PATH = "/etc/sysctl.d/90-rungway.conf"

HARDENING = {
    # What the kernel tells about itself helps an exploit to aim.
    "kernel.kptr_restrict": "2",
    "kernel.dmesg_restrict": "1",
    "kernel.perf_event_paranoid": "3",
    # Parts of the kernel that only root needs here, and in which most local holes of the last years were.
    "kernel.unprivileged_bpf_disabled": "1",
    "net.core.bpf_jit_harden": "2",
    "kernel.unprivileged_userns_clone": "0",
    "kernel.io_uring_disabled": "2",
    "kernel.kexec_load_disabled": "1",
    "kernel.sysrq": "0",
    # A process looks into another one only as root.
    "kernel.yama.ptrace_scope": "2",
    # No core dumps: they hold keys and customers' data.
    "kernel.core_pattern": "|/bin/false",
    "fs.suid_dumpable": "0",
    # Links, pipes and files that somebody else put into a shared directory are not followed.
    "fs.protected_hardlinks": "1",
    "fs.protected_symlinks": "1",
    "fs.protected_fifos": "2",
    "fs.protected_regular": "2",
    # No neighbour tells this server other routes, and it tells nobody. '*' is every interface, those of the future too.
    "net.ipv4.conf.*.accept_redirects": "0",
    "net.ipv4.conf.*.secure_redirects": "0",
    "net.ipv4.conf.*.send_redirects": "0",
    "net.ipv4.conf.*.accept_source_route": "0",
    "net.ipv6.conf.*.accept_redirects": "0",
    "net.ipv6.conf.*.accept_source_route": "0",
    # More half-open connections than the queue holds cost no memory. TCP timestamps stay on: the cookies carry window scaling in them,
    # and since Linux 4.10 each connection counts from a random start, so they tell no uptime.
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv4.tcp_rfc1337": "1",
    "net.ipv4.icmp_echo_ignore_broadcasts": "1",
}
"""Linux documentation, admin-guide/sysctl and networking/ip-sysctl; unprivileged_userns_clone and the value 3 are Debian's additions."""

STRICT, LOOSE = "1", "2"
"""Reverse path filter (RFC 3704). The firewall trusts the private network by its addresses, so none of them may come in by the public
interface: strict. On Kubernetes' nodes an answer to a pod may take another way than the request: loose."""

UNUSED_MODULES = {
    "rarely used network protocols, loadable by a program that only opens a socket": (
        "dccp sctp rds tipc n-hdlc ax25 netrom x25 rose af_802154 ipx appletalk psnap p8022 p8023 can atm llc2 phonet"
    ),
    "file systems that no server of ours mounts": "cramfs freevxfs jffs2 hfs hfsplus udf ksmbd cifs nfs nfsd gfs2 ocfs2",
    "hardware that a virtual server does not have": "firewire-core thunderbolt usb-storage bluetooth floppy pcspkr",
}
"""Modules that never load, with the reason. vfat and iso9660 stay: user data can come on such a disk."""


def kernel_parameters(host: HostSpecification) -> dict[str, str]:
    """sysctl of the host: tuning, and hardening, which wins."""
    reverse_path = LOOSE if host.role.startswith("kubernetes-") else STRICT
    return {**tuned(SYSCTL, host), **HARDENING, "net.ipv4.conf.*.rp_filter": reverse_path}


def kernel(host: HostSpecification) -> Service:
    """sysctl, module blacklist and AppArmor."""
    return Service(
        name="kernel",
        packages=("apparmor",),
        files=(
            HostFile(path=SYSCTL_PATH, content=render_template("kernel/sysctl.conf", parameters=kernel_parameters(host))),
            HostFile(
                path="/etc/modprobe.d/10-rungway.conf",
                content=render_template("kernel/modprobe.conf", modules={why: names.split() for why, names in UNUSED_MODULES.items()}),
            ),
        ),
        units=("systemd-sysctl.service", "apparmor.service"),
        probe=_probe(),
    )


def _probe() -> str:
    """The kernel took every value of the hardening that it knows. A container can't set them, and its kernel is not ours."""
    lines = "\n".join(f"{key.replace('.', '/')} {value}" for key, value in HARDENING.items() if "*" not in key)
    return (
        "systemd-detect-virt --container --quiet || while read -r key value; do\n"
        '  test ! -e "/proc/sys/$key" || test "$(cat "/proc/sys/$key")" = "$value" || { echo "$key is not $value"; exit 1; }\n'
        f"done <<'END'\n{lines}\nEND"
    )
