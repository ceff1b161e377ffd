"""The firewall on the server: the rules of the cloud firewall, in nftables' words, and never a server that nobody reaches."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hosts.reachability import ROLES, Rule, firewall_rules
from hosts.services.firewall import FirewallError, firewall
from tests.support.minimal_host import minimal_host

SSH = Rule("SSH", "tcp", "22", ("10.0.0.0/12",))


def _text(*rules: Rule, **changes: object) -> str:
    return firewall(minimal_host(rules=rules or (SSH,), **changes)).files[0].content


def _of_role(role: str) -> str:
    rules = firewall_rules(
        role,
        private_cidrs=["10.0.0.0/12"],
        admin_cidrs=["198.51.100.7/32", "2001:db8::/48"],
        jump_host=True,
        behind_cloudflare=True,
        behind_load_balancer=False,
    )
    return _text(*rules, role=role)


def test_what_no_rule_names_is_dropped() -> None:
    assert "type filter hook input priority filter; policy drop;" in _text()
    assert "type filter hook forward priority filter; policy drop;" in _text()


def test_pods_are_forwarded_and_reach_their_node() -> None:
    text = _of_role("kubernetes-worker")
    assert "type filter hook forward priority filter; policy accept;" in text
    assert 'iifname { "cni0", "flannel.1" } accept' in text
    assert "cni0" not in _of_role("app")


def test_a_rule_becomes_a_line_for_each_family() -> None:
    text = _text(SSH, Rule("HTTPS", "tcp", "443", ("203.0.113.0/24", "2001:db8::/32")), Rule("etcd", "tcp", "2379-2380", ("10.0.0.0/12",)))
    lines = [line.strip() for line in text.splitlines() if " saddr @" in line]
    assert lines == [
        'ip saddr @sources_1 tcp dport 22 accept comment "SSH"',
        'ip saddr @sources_2 tcp dport 443 accept comment "HTTPS"',
        'ip6 saddr @sources_3 tcp dport 443 accept comment "HTTPS"',
        'ip saddr @sources_1 tcp dport 2379-2380 accept comment "etcd"',
    ]
    sets = re.findall(r"set (\w+) \{\s*type (\w+)\s*flags interval\s*elements = \{\s*([^}]*?)\s*\}", text)
    assert sets == [
        ("sources_1", "ipv4_addr", "10.0.0.0/12"),
        ("sources_2", "ipv4_addr", "203.0.113.0/24"),
        ("sources_3", "ipv6_addr", "2001:db8::/32"),
    ]


def test_everywhere_needs_no_set() -> None:
    text = _text(SSH, Rule("HTTPS", "tcp", "443", ("0.0.0.0/0", "::/0")))
    assert 'meta nfproto ipv4 tcp dport 443 accept comment "HTTPS"' in text
    assert 'meta nfproto ipv6 tcp dport 443 accept comment "HTTPS"' in text
    assert "/0" not in re.sub("#.*", "", text).replace("fe80::/10", "")


def test_networks_within_others_are_left_out() -> None:
    text = _text(Rule("SSH", "tcp", "22", ("10.0.0.0/12", "10.1.0.0/16")))
    assert "10.0.0.0/12" in text
    assert "10.1.0.0/16" not in text


def test_ping_is_limited_for_each_family() -> None:
    text = _text(SSH, Rule("ping", "icmp", "", ("10.0.0.0/12", "fd00::/8")))
    assert 'ip saddr @sources_1 icmp type echo-request limit rate 20/second accept comment "ping"' in text
    assert 'ip6 saddr @sources_2 icmpv6 type echo-request limit rate 20/second accept comment "ping"' in text


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (Rule("SSH", "tcp", "22", ()),),
        (Rule("HTTPS", "tcp", "443", ("10.0.0.0/12",)),),
        (Rule("SSH", "udp", "22", ("10.0.0.0/12",)),),
        (Rule("ping", "icmp", "", ("10.0.0.0/12",)),),
        (Rule("many", "tcp", "23-90", ("10.0.0.0/12",)),),
    ],
)
def test_rules_without_ssh_are_refused(rules: tuple[Rule, ...]) -> None:
    with pytest.raises(FirewallError, match=r"^app-eu-1: found no rule that lets SSH in \(tcp 22\)"):
        firewall(minimal_host(rules=rules))


def test_a_range_with_ssh_in_it_lets_ssh_in() -> None:
    assert "tcp dport 20-30 accept" in _text(Rule("many", "tcp", "20-30", ("10.0.0.0/12",)))


def test_only_our_table_is_replaced_or_removed() -> None:
    main, drop_in = firewall(minimal_host(rules=(SSH,))).files
    assert "flush ruleset" not in main.content
    assert "delete table inet rungway" in main.content
    assert drop_in.content.count("ExecStop=") == 2


def test_the_provider_that_assigns_addresses_by_dhcp_may_answer() -> None:
    assert "udp sport 67 udp dport 68 accept" in _text(provider="hetzner")
    assert "udp sport 67" not in _text(provider="digitalocean")


def test_user_data_is_for_root_alone() -> None:
    assert "ip daddr 169.254.169.254 meta skuid != 0 reject" in _text()


_NEEDED = ("nft", "unshare", "nsenter", "ip")


@pytest.mark.skipif(not all(map(shutil.which, _NEEDED)), reason=f"needs {', '.join(_NEEDED)}")
@pytest.mark.parametrize("role", ROLES)
def test_nft_takes_the_rules_of_every_role(role: str, tmp_path: Path) -> None:
    file = tmp_path / "nftables.conf"
    file.write_text(_of_role(role))
    private = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*private, "nft", "list", "ruleset"], capture_output=True).returncode:
        pytest.skip("needs a network namespace of its own")
    checked = subprocess.run([*private, "nft", "--check", "--file", file], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


_NETWORK = """
set -eu
unshare --net sleep 60 & client=$!
trap 'kill $client' EXIT
until [ "$(readlink /proc/$client/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
inside() { nsenter --net --target $client "$@"; }
ip link add server type veth peer name client netns $client
ip address add 10.0.1.10/12 dev server; ip address add 192.0.2.1/24 dev server
ip link set server up; ip route add default via 192.0.2.2
for network in 192.0.2.2/24 10.0.9.9/12 198.51.100.7/32 104.16.0.1/32 203.0.113.5/32; do inside ip address add $network dev client; done
inside ip link set client up
nft --file "$1"
inside python3 -c "$2"
"""

_CONNECT = """
import itertools, socket
from concurrent.futures import ThreadPoolExecutor

def is_let_in(flow):
    source, port = flow
    with socket.socket() as connection:
        connection.settimeout(0.5)
        connection.bind((source, 0))
        try:
            connection.connect(("10.0.1.10" if source.startswith("10.") else "192.0.2.1", port))
        except ConnectionRefusedError:  # Nothing listens there.
            return True
        except TimeoutError:
            return False

flows = list(itertools.product(("10.0.9.9", "198.51.100.7", "104.16.0.1", "203.0.113.5"), (22, 443, 5432, 9999)))
with ThreadPoolExecutor(len(flows)) as pool:
    print(*(f"{source} {port}" for (source, port), let_in in zip(flows, pool.map(is_let_in, flows)) if let_in), sep=chr(10))
"""


@pytest.mark.skipif(not all(map(shutil.which, _NEEDED)), reason=f"needs {', '.join(_NEEDED)}")
def test_packets_come_in_from_where_they_may_and_from_nowhere_else(tmp_path: Path) -> None:
    file = tmp_path / "nftables.conf"
    file.write_text(_of_role("app"))
    private = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*private, "nft", "list", "ruleset"], capture_output=True).returncode:
        pytest.skip("needs a network namespace of its own")
    done = subprocess.run([*private, "bash", "-c", _NETWORK, "bash", str(file), _CONNECT], capture_output=True, text=True, timeout=60)
    assert (done.stdout.splitlines(), done.stderr) == (
        ["10.0.9.9 22", "10.0.9.9 443", "10.0.9.9 5432", "198.51.100.7 22", "104.16.0.1 443"],
        "",
    )
