"""The audit log: who changed what keeps the server safe, and what was run as root by people who logged in.

The kernel writes it, so that a program can't leave itself out. A container has no audit of its own: the units don't run there.
"""

from hosts.configuration import HostFile, Service
from hosts.services.ssh import ADMIN_USER
from hosts.specification import HostSpecification
from hosts.templating import render_template

WATCHED = {
    "identity": ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/security/"),
    "root": ("/etc/sudoers", "/etc/sudoers.d/"),
    "ssh": ("/etc/ssh/", f"/home/{ADMIN_USER}/.ssh/"),
    "boot": ("/etc/systemd/", "/etc/sysctl.d/", "/etc/modprobe.d/", "/etc/crontab", "/etc/cron.d/"),
    "firewall": ("/etc/nftables.conf",),
    "tls": ("/etc/rungway/",),
    "audit": ("/etc/audit/",),
}
"""Files and directories (with a slash) whose changes are recorded, under the key by which `ausearch -k` finds them. All of them are on
every server: the kernel refuses a directory that is not there."""


def audit(host: HostSpecification) -> Service:
    """auditd with a small set of rules: what is recorded is read, and costs nothing on the paths of requests."""
    architectures = ("b64", "b32") if host.architecture == "x86" else ("b64",)
    drop_in = render_template("audit/not-in-containers.conf")
    return Service(
        name="audit",
        packages=("auditd",),
        files=(
            HostFile(path="/etc/audit/auditd.conf", content=render_template("audit/auditd.conf"), mode=0o640),
            HostFile(
                path="/etc/audit/rules.d/10-rungway.rules",
                content=render_template("audit/audit.rules", watched=WATCHED, architectures=architectures),
                mode=0o640,
            ),
            *(
                HostFile(path=f"/etc/systemd/system/{unit}.service.d/10-rungway.conf", content=drop_in)
                for unit in ("auditd", "audit-rules")
            ),
        ),
        units=("auditd.service",),
        probe="systemd-detect-virt --container --quiet || auditctl -l | grep --quiet 'key=admin-root'",
    )
