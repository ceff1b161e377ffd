"""Links between regions: who has one with whom, what a server learns of the others' keys, and a real tunnel."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from hosts.configuration import HostConfiguration, HostFile
from hosts.secrets import fill_in, needed_secrets
from hosts.services.exporters import TEXTFILE_DIRECTORY
from hosts.services.wireguard import CONFIGURATION, METRICS_SCRIPT, RELOAD_SCRIPT, linked_peers, wireguard
from hosts.specification import HostSpecification
from hosts.wireguard_keys import WIREGUARD_SECRET, private_key
from rungway.servers import servers_of_stack
from tests.support.debian_root import DebianRoot

Configurations = dict[str, dict[str, HostConfiguration]]
SEVERAL_REGIONS = ("phase4", "vps/phase4", "kubernetes/phase2", "kubernetes/phase3", "global/phase2", "global/phase3", "global/phase4")


def _filled(configuration: HostConfiguration, stack_secret: str) -> HostConfiguration:
    """With addresses that tell the servers apart."""
    names = {name for file in configuration.files for name in re.findall(r"\$\{(?:address|public):([a-z0-9-]+)\}", file.content)}
    addresses = {name: f"10.99.0.{number}" for number, name in enumerate(sorted(names | {configuration.name}), 1)}
    public = {name: f"2001:db8::{number}" for number, name in enumerate(sorted(names), 1)}
    secrets = dict.fromkeys(needed_secrets(configuration), stack_secret)
    return fill_in(configuration, secrets=secrets, addresses=addresses, public_addresses=public)


@pytest.mark.parametrize("stack", SEVERAL_REGIONS)
def test_every_server_has_a_link_to_each_of_the_other_regions_and_to_no_neighbour(stack: str, in_project: object) -> None:
    hosts = {host.name: host for host in servers_of_stack(stack)}
    converged = {name for name, host in hosts.items() if not host.role.startswith("kubernetes-")}

    for name, host in hosts.items():
        elsewhere = {other for other in converged if hosts[other].region != host.region}
        assert {peer.name for peer in linked_peers(host)} == (elsewhere if name in converged else set())
    assert any(linked_peers(host) for host in hosts.values())


def test_a_stack_of_one_region_has_no_links_and_needs_no_key_for_them(configurations: Configurations) -> None:
    for stack, servers in configurations.items():
        linked = stack in SEVERAL_REGIONS
        for name, configuration in servers.items():
            has_link = linked and not name.startswith("kubernetes-")
            assert any(file.path == CONFIGURATION for file in configuration.files) is has_link, (stack, name)
            assert (WIREGUARD_SECRET in needed_secrets(configuration)) is has_link, (stack, name)


def test_firewalls_let_wireguard_in_exactly_where_it_is(in_project: object, configurations: Configurations) -> None:
    for stack in configurations:
        for host in servers_of_stack(stack):
            tunnel = [rule for rule in host.rules if rule.port == "51820"]
            assert [(rule.protocol, rule.sources) for rule in tunnel] == ([("udp", ("::/0",))] if linked_peers(host) else [])


def test_a_server_learns_its_own_private_key_and_nothing_that_others_follow_from(configurations: Configurations) -> None:
    servers = configurations["vps/phase4"]
    others = {name: private_key("stack secret", name) for name in servers}
    for name, configuration in servers.items():
        filled = _filled(configuration, "stack secret")
        (service,) = (service for service in filled.services if service.name == "wireguard")
        text = repr(service)
        assert [other for other, key in others.items() if key in text] == [name]
        assert "stack secret" not in text


def test_private_and_shared_keys_are_in_secret_files_alone(configurations: Configurations) -> None:
    texts = {
        "${wireguard:key}": True,
        "${wireguard-shared:app-us-1}": True,
        "${wireguard-public:app-us-1}": False,
        "${public:app-us-1}": False,
    }
    assert {text: HostFile(path="/f", content=text).is_secret for text in texts} == texts
    for servers in configurations.values():
        for configuration in servers.values():
            files = [file for file in configuration.files if re.search(r"\$\{wireguard(-shared)?:", file.content)]
            assert all(file.is_secret and file.mode == 0o600 and file.path == CONFIGURATION for file in files)


def test_only_the_ends_of_a_link_hold_its_shared_key(configurations: Configurations) -> None:
    servers = {name: _filled(configuration, "one") for name, configuration in configurations["vps/phase4"].items()}
    keys = {name: set(re.findall(r"PresharedKey = (\S+)", _text(configuration))) for name, configuration in servers.items()}

    for one, other in itertools.combinations(servers, 2):
        shared = 0 if one.split("-")[1] == other.split("-")[1] else 1
        assert len(keys[one] & keys[other]) == shared


def _text(configuration: HostConfiguration) -> str:
    return next(file.content for file in configuration.files if file.path == CONFIGURATION)


@pytest.fixture
def hosts(in_project: object) -> Mapping[str, HostSpecification]:
    """The servers of a stack of two regions."""
    return {host.name: host for host in servers_of_stack("vps/phase4")}


PUBLIC = {"app-eu-1": "2001:db8::1", "app-us-1": "2001:db8::2", "redis-us-1": "2001:db8::3"}


def _file(host: HostSpecification, *peers: str, stack_secret: str) -> str:
    """The configuration of a server with links to these peers alone."""
    service = wireguard(replace(host, peers=tuple(peer for peer in host.peers if peer.name in peers)))
    configuration = HostConfiguration(name=host.name, private_address=host.private_address, services=(service,))
    return _text(fill_in(configuration, secrets={WIREGUARD_SECRET: stack_secret}, addresses={}, public_addresses=PUBLIC))


TWO_REGIONS = """
mkdir -p /run/wireguard /run/eu /run/us
ip netns add eu
ip netns add us
ip link add eth0 netns eu type veth peer name eth0 netns us
at() { ip netns exec "$1" bash -euc "mount --bind /run/$1 /run/wireguard; mount --bind /srv/$1 /etc/wireguard; $2"; }
start() {
  ip link add "$1" type veth peer name eth1 netns "$1"
  ip link set "$1" up
  ip -n "$1" address add "$2/8" dev eth1
  ip -n "$1" address add "$3/64" dev eth0 nodad
  for interface in lo eth0 eth1; do ip -n "$1" link set "$interface" up; done
  at "$1" 'for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >"$file"; done; wg-quick up wg0 >/dev/null 2>&1'
}
start eu 10.0.1.10 2001:db8::1
start us 10.1.1.10 2001:db8::2
# Two that begin a handshake at the same moment may take a second one, 5 to 15 s later.
linked() { at eu "timeout $1 bash -c 'until ping -q -c 1 -W 1 10.1.1.10 >/dev/null; do :; done'"; }
"""
"""Two servers whose private networks don't meet, with the strict reverse path filter that ours have."""


def _written(eu: str, us: str) -> tuple[HostFile, ...]:
    return HostFile(path="/srv/eu/wg0.conf", content=eu, mode=0o600), HostFile(path="/srv/us/wg0.conf", content=us, mode=0o600)


@pytest.mark.parametrize(("secret", "seconds", "answers"), [("one", 40, True), ("other", 3, False)])
def test_servers_with_keys_of_one_stack_reach_each_other_through_the_tunnel(
    secret: str, seconds: int, answers: bool, hosts: Mapping[str, HostSpecification], debian_root: DebianRoot
) -> None:
    files = _written(_file(hosts["app-eu-1"], "app-us-1", stack_secret="one"), _file(hosts["app-us-1"], "app-eu-1", stack_secret=secret))
    answer = debian_root.try_script(files, f"{TWO_REGIONS}at eu 'ip route get 10.1.1.10'\nlinked {seconds}")

    assert "10.1.1.10 dev wg0 src 10.0.1.10" in answer.said
    assert (answer.code == 0) is answers, answer.said


def test_a_reload_changes_peers_routes_and_address_and_loses_nothing(
    hosts: Mapping[str, HostSpecification], debian_root: DebianRoot
) -> None:
    eu = hosts["app-eu-1"]
    service = wireguard(eu)
    script_file = next(file for file in service.files if file.path == RELOAD_SCRIPT)
    one, two, another = (_file(eu, *peers, stack_secret="one") for peers in (["app-us-1"], ["app-us-1", "redis-us-1"], ["redis-us-1"]))
    files = (
        *_written(one, _file(hosts["app-us-1"], "app-eu-1", stack_secret="one")),
        script_file,
        HostFile(path="/srv/two", content=two),
        HostFile(path="/srv/another", content=another),
    )
    # As Debian's unit and our drop-in do it.
    reload = (
        f"at eu 'wg syncconf wg0 <(wg-quick strip wg0); {RELOAD_SCRIPT}; wg show wg0 peers | wc --lines; "
        'ip -4 route show dev wg0 | cut --delimiter=" " --fields=1; echo end\'\n'
    )
    script = f"""{TWO_REGIONS}
linked 40
at eu 'ping -q -c 60 -i 0.05 10.1.1.10' >/run/pings &
sleep 0.5
cp /srv/two /srv/eu/wg0.conf
{reload}
wait
cat /run/pings
sed 's|^Address = .*|Address = 10.0.1.77/32|' /srv/another >/srv/eu/wg0.conf
{reload}at eu 'ip route get 10.1.3.10; {RELOAD_SCRIPT}'"""
    answer = debian_root.try_script(files, script)

    assert answer.code == 0, answer.said
    assert "60 received, 0% packet loss" in answer.said
    before, after, moved = answer.said.split("end")
    assert before.split() == ["2", "10.1.1.10", "10.1.3.10"]
    assert after.split()[-2:] == ["1", "10.1.3.10"]
    assert "10.1.3.10 dev wg0 src 10.0.1.77" in moved


def test_metrics_tell_by_the_servers_name_when_each_link_shook_hands(
    hosts: Mapping[str, HostSpecification], debian_root: DebianRoot
) -> None:
    eu = hosts["app-eu-1"]
    peers = tuple(peer for peer in eu.peers if peer.name in ("app-us-1", "redis-us-1"))
    service = wireguard(replace(eu, peers=peers))
    files = (
        *_written(_file(eu, "app-us-1", "redis-us-1", stack_secret="one"), _file(hosts["app-us-1"], "app-eu-1", stack_secret="one")),
        next(file for file in service.files if file.path == METRICS_SCRIPT),
    )
    look = f"at eu {METRICS_SCRIPT}; grep --invert-match '^#' {TEXTFILE_DIRECTORY}/rungway-wireguard.prom\n"
    script = f"""{TWO_REGIONS}mkdir -p {TEXTFILE_DIRECTORY}
linked 40
date +%s
{look}date +%s
ip -n eu link delete wg0
{look}"""
    answer = debian_root.try_script(files, script)

    assert answer.code == 0, answer.said
    linked_at, now = (int(line) for line in re.findall(r"^\d+$", answer.said, re.MULTILINE))
    figures = re.findall(r'^rungway_wireguard_latest_handshake_timestamp_seconds\{peer="([a-z0-9-]+)"\} (\d+)$', answer.said, re.MULTILINE)
    (linked, alive), *others = figures
    assert linked == "app-us-1"
    assert linked_at - 40 <= int(alive) <= now
    assert others == [("redis-us-1", "0"), ("app-us-1", "0"), ("redis-us-1", "0")]


SYSTEMCTL = """
systemctl() {
    case "$1 ${!#}" in
        "disable wg-quick@wg0.service") wg-quick down wg0 ;;
        "is-enabled rungway-wireguard-metrics.timer") test -e /etc/systemd/system/rungway-wireguard-metrics.timer ;;
        "disable rungway-wireguard-metrics.timer" | "daemon-reload daemon-reload" | "reset-failed wg-quick@wg0.service*") ;;
        *) exit 1 ;;
    esac
}
export -f systemctl
"""
"""What systemd would do, where there is none."""


@pytest.mark.parametrize("ours", [True, False])
def test_a_server_whose_stack_is_back_in_one_region_loses_its_links_and_their_keys(
    ours: bool, hosts: Mapping[str, HostSpecification], debian_root: DebianRoot
) -> None:
    eu = hosts["app-eu-1"]
    (task,) = wireguard(replace(eu, peers=tuple(peer for peer in eu.peers if peer.region == "eu"))).before
    service = wireguard(replace(eu, peers=tuple(peer for peer in eu.peers if peer.name == "app-us-1")))
    others = [file for file in service.files if file.path != CONFIGURATION]
    files = (
        *_written(_file(eu, "app-us-1", stack_secret="one"), _file(hosts["app-us-1"], "app-eu-1", stack_secret="one")),
        *(others if ours else ()),
        HostFile(path="/srv/unless", content=task.unless),
        HostFile(path="/srv/script", content=task.script),
    )
    paths = " ".join([*(file.path for file in others), CONFIGURATION, f"{TEXTFILE_DIRECTORY}/rungway-wireguard.prom"])
    converge = "at eu 'bash -eu /srv/unless || { bash -eu /srv/script; echo changed; bash -eu /srv/unless; }'"
    script = f"""{TWO_REGIONS}{SYSTEMCTL}mkdir -p {TEXTFILE_DIRECTORY}
{f"at eu {METRICS_SCRIPT}" if ours else ""}
{converge}
{converge}
at eu 'ls {paths} 2>/dev/null || true; ip -brief link show wg0 || echo no link'"""
    answer = debian_root.try_script(files, script)

    assert answer.code == 0, answer.said
    assert answer.said.count("changed") == ours
    assert ("no link" in answer.said) is ours
    assert (CONFIGURATION in answer.said.split()) is not ours
    assert not [file.path for file in others if file.path in answer.said.split()]
