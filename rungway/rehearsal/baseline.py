"""What must hold on every server before anything is tried: nothing failed, nothing open that should not be, nothing left to converge."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from hosts.services.wireguard import INTERFACE, linked_peers
from rungway.rehearsal.network import OUTSIDE, STRANGER, VISITOR
from rungway.rehearsal.phase import RehearsedPhase
from rungway.rehearsal.report import Check
from rungway.rehearsal.server import RehearsedServer

SSHD = {"permitrootlogin": "no", "passwordauthentication": "no", "kbdinteractiveauthentication": "no", "allowusers": "admin"}
"""What `sshd -T` must say."""

PROBED_PORTS = "22,80,443,2379,2380,3000,3100,5432,6379,6432,8000,8001,8008,9090,9093,9100,9121,9127,9187,26379"
"""What is asked from places that firewalls know: SSH, the web, and everything that must never answer there. Strangers ask all ports."""

EXPOSURE_LIMIT = 5.5
"""`systemd-analyze security` rates a unit without any sandbox 9.6. The widest of ours has 5.2: root, to read every certificate's end."""

RELOAD_PINGS = 40
"""Ten a second: the firewall answers 20."""
_TUNNEL = f"wg-quick@{INTERFACE}.service"

OUR_UNITS = re.compile(
    r"^(nginx|redis-|haproxy|pgbouncer|postgresql@|patroni|etcd|prometheus|rungway-|backup-|systemd-journal-(remote|upload))"
)


def failed_units(phase: RehearsedPhase) -> Iterator[Check]:
    """No unit failed on any server."""
    for name, server in phase.servers.items():
        _, said = server.run("systemctl list-units --failed --plain --no-legend | cut --delimiter=' ' --fields=1")
        units = said.split()
        yield Check(f"failed units on {name}", not units, len(units), "units", "; ".join(_last_words(server, unit) for unit in units))


def _last_words(server: RehearsedServer, unit: str) -> str:
    _, said = server.run(f"journalctl --unit={unit} --no-pager --output=cat | tail -n 4")
    return f"{unit}: {' '.join(said.split())}"


def ssh(phase: RehearsedPhase) -> Iterator[Check]:
    """sshd lets in one user, by key alone."""
    for name, server in phase.servers.items():
        _, said = server.run("sshd -T")
        found = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
        wrong = [f"{key} {found.get(key)}" for key, wanted in SSHD.items() if found.get(key) != wanted]
        yield Check(f"sshd on {name}", not wrong, note="; ".join(wrong))


def open_ports(phase: RehearsedPhase) -> Iterator[Check]:
    """What nmap finds from outside: strangers nothing, visitors the web, administrators SSH on the servers that they reach directly."""
    edge = phase.settings.edge.enabled
    with ThreadPoolExecutor(max_workers=2) as pool:
        for name, found in zip(phase.servers, pool.map(lambda server: _scan(phase, server), phase.servers.values()), strict=True):
            host = phase.hosts[name]
            web = (
                {80, 443} if any(rule.port == "443" and set(rule.sources) - {phase.settings.network.cidr} for rule in host.rules) else set()
            )
            wanted = {"a stranger": set() if edge else web, "Cloudflare": web, "the administrator": set() if host.jump_host else {22}}
            if not edge:
                wanted["the administrator"] |= web
            if not phase.addresses[name].public:
                wanted = {"a stranger": set()}
            note = "; ".join(f"{who}: {', '.join(map(str, sorted(ports))) or 'none'}" for who, ports in found.items())
            yield Check(f"open ports of {name}", found == wanted, note=note)


def _scan(phase: RehearsedPhase, server: RehearsedServer) -> dict[str, set[int]]:
    assert phase.outside is not None  # noqa: S101 (the phase is prepared)
    addresses = server.addresses
    fast = ["-n", "-Pn", "-sS", "--open", "--max-retries", "1", "--min-rate", "6000", "-oG", "-"]
    if not addresses.public:
        return {"a stranger": _ports(phase.outside.run(["nmap", "-6", *fast, "-p-", addresses.public_v6])[1])}
    every = {
        "a stranger": ("-p-", STRANGER),
        "Cloudflare": (f"-p{PROBED_PORTS}", VISITOR),
        "the administrator": (f"-p{PROBED_PORTS}", OUTSIDE),
    }
    return {
        who: _ports(phase.outside.run(["nmap", *fast, ports, "-S", source, "-e", "eth0", addresses.public])[1])
        for who, (ports, source) in every.items()
    }


def _ports(text: str) -> set[int]:
    return {int(port) for port in re.findall(r"(\d+)/open/", text)}


def links(phase: RehearsedPhase) -> Iterator[Check]:
    """Every server reaches those of other regions by their private addresses, with nothing lost while its links are read anew."""
    linked = {name: peers for name in phase.servers if (peers := _linked(phase, name))}
    for name, peers in linked.items():
        times = {peer: _round_trip_ms(phase, name, peer) for peer in peers}
        silent = [peer for peer, time_ms in times.items() if time_ms is None]
        slowest = max((time_ms for time_ms in times.values() if time_ms is not None), default=None)
        note = f"no answer from {', '.join(silent)}" if silent else f"the slowest of {len(peers)}"
        yield Check(f"links of {name} to other regions", not silent, slowest, "ms", note)
    for name, (peer, *_) in [*linked.items()][-1:]:
        server, address = phase.servers[name], phase.addresses[peer].private
        _, said = server.run(f"ping -q -c {RELOAD_PINGS} -i 0.1 -W 2 {address} & sleep 1; systemctl reload {_TUNNEL}; wait")
        lost = RELOAD_PINGS - int((re.search(r"(\d+) received", said) or ["", "0"])[1])
        yield Check(f"links of {name} read anew", lost == 0, lost, "packets lost", f"of {RELOAD_PINGS}")
        code, _ = server.run(f"systemctl stop {_TUNNEL}; ping -q -c 3 -i 0.2 -W 1 {address}")
        yield Check(f"no way from {name} to {peer} but the tunnel", code != 0)
        server.run(f"systemctl start {_TUNNEL}")
        began = time.monotonic()
        code, _ = server.run(f"until ping -q -c 1 -W 1 {address}; do :; done")
        yield Check(f"the tunnel of {name} up again", code == 0, round(time.monotonic() - began, 2), "s")


def traffic_between_regions(phase: RehearsedPhase) -> Iterator[Check]:
    """Whatever passed between regions, from the first boot on, was WireGuard's."""
    if any(_linked(phase, name) for name in phase.servers):
        encrypted, others = phase.network.passed_between_regions()
        note = f"beside {encrypted} of WireGuard"
        yield Check("packets between regions outside the tunnels", encrypted > 0 and not others, others, "packets", note)


def _linked(phase: RehearsedPhase, name: str) -> list[str]:
    """The rehearsed servers that a server has links to."""
    return [peer.name for peer in linked_peers(phase.hosts[name]) if peer.name in phase.servers]


def _round_trip_ms(phase: RehearsedPhase, name: str, peer: str) -> float | None:
    """The average, in ms; None where no answer came."""
    _, said = phase.servers[name].run(f"ping -q -c 3 -i 0.2 -W 2 {phase.addresses[peer].private}")
    found = re.search(r"= [\d.]+/([\d.]+)/", said)
    return float(found[1]) if found else None


def exposure(phase: RehearsedPhase) -> Iterator[Check]:
    """How much the units that we configure could do to their server if they were taken over (`systemd-analyze security`, 0 to 10)."""
    for name, server in phase.servers.items():
        _, said = server.run("systemd-analyze security --no-pager --json=short")
        units = {row["unit"]: float(row["exposure"]) for row in json.loads(said) if OUR_UNITS.match(row["unit"])}
        worst = max(units, key=lambda unit: units[unit], default=None)
        if worst is not None:
            yield Check(
                f"exposure of units on {name}", units[worst] <= EXPOSURE_LIMIT, units[worst], "of 10", f"{worst}, of {len(units)} units"
            )


def second_convergence(phase: RehearsedPhase) -> Iterator[Check]:
    """Converging again changes nothing."""
    for name, result in phase.converge().items():
        changed = [f"{service.service}: {change.name}" for service in result.services for change in service.changes]
        yield Check(f"second convergence of {name}", not changed, round(result.seconds, 1), "s", "; ".join(changed) or "0 changes")


def lynis(phase: RehearsedPhase) -> Iterator[Check]:
    """The hardening index of the first server of each role."""
    first = {server.host.role: server for server in reversed(phase.servers.values())}
    with ThreadPoolExecutor(max_workers=2) as pool:
        for role, index in zip(first, pool.map(_lynis, first.values()), strict=True):
            yield Check(f"lynis on a server of the role {role}", index is not None, index, "of 100")


def _lynis(server: RehearsedServer) -> int | None:
    install = "apt-get install --yes --quiet --no-install-recommends lynis >/dev/null 2>&1"
    _, said = server.run(f"{install}; lynis audit system --quick --no-colors --quiet; cat /var/log/lynis-report.dat", 300)
    found = re.search(r"^hardening_index=(\d+)", said, re.MULTILINE)
    return int(found[1]) if found else None
