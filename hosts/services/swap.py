"""Swap on application servers: where a peak goes that does not fit, instead of the kernel ending a database."""

from hosts.configuration import HostFile, Service
from hosts.specification import HostSpecification
from hosts.templating import render_template
from hosts.tuning import SWAP_MB

STATE_DIRECTORY = "rungway-swap"
SWAP_FILE = f"/var/lib/{STATE_DIRECTORY}/swapfile"
SWAP_ON = "/usr/local/lib/rungway/swap-on"
UNIT = "rungway-swap.service"


def swap(host: HostSpecification) -> Service | None:
    """A swap file on servers of the role app; None elsewhere. A container has no swap of its own: the unit doesn't run there."""
    if host.role != "app":
        return None
    return Service(
        name="swap",
        files=(
            HostFile(path=SWAP_ON, content=render_template("swap/swap-on.sh", swap_file=SWAP_FILE, size_mb=SWAP_MB), mode=0o755),
            HostFile(
                path=f"/etc/systemd/system/{UNIT}",
                content=render_template("swap/rungway-swap.service", swap_on=SWAP_ON, state_directory=STATE_DIRECTORY),
            ),
        ),
        checks=(f"bash -n {SWAP_ON}",),
        units=(UNIT,),
        probe=f"systemd-detect-virt --container --quiet || swapon --show=NAME --noheadings | grep --quiet --line-regexp {SWAP_FILE}",
    )
