"""What stands for a provider's load balancer: HAProxy outside the servers, with the checks and PROXY lines that the component asks for."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from components.load_balancer import CHECK_INTERVAL_SECONDS, CHECK_RETRIES, CHECK_TIMEOUT_SECONDS
from rungway.rehearsal.network import Addresses, Network

_BALANCE = {"round_robin": "roundrobin", "least_connections": "leastconn"}


class LoadBalancer:
    """Ports 80 and 443 of `addresses`, passed on to servers. `root` is the world outside, which has HAProxy."""

    def __init__(self, name: str, addresses: Addresses, network: Network, root: Path) -> None:
        self._name = name
        self._addresses = addresses
        self._network = network
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, servers: Mapping[str, str], *, algorithm: str, health_check_path: str, private_prefix: int) -> None:
        """Start it. `servers` are private addresses by name; `algorithm` is round_robin or least_connections."""
        namespace = self._network.add_server(self._name, self._addresses, private_prefix)
        file = self._root / f"srv/{self._name}.cfg"
        file.write_text(configuration(servers, algorithm=algorithm, health_check_path=health_check_path))
        with open(self._root / f"srv/{self._name}.log", "ab") as log:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", namespace, "chroot", str(self._root), "haproxy", "-db", "-f", f"/srv/{file.name}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"},
            )

    def stop(self) -> None:
        """End it and remove its place in the network."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._network.remove_server(self._name)


def configuration(servers: Mapping[str, str], *, algorithm: str, health_check_path: str) -> str:
    """HAProxy's configuration: what the component LoadBalancer asks of its provider, where TLS passes through."""
    lines = ["defaults", "    mode tcp", "    timeout connect 5s", "    timeout client 60s", "    timeout server 60s", ""]
    for port in (80, 443):
        lines += [f"listen port-{port}", f"    bind :::{port} v4v6", f"    balance {_BALANCE[algorithm]}"]
        lines += [f"    option httpchk GET {health_check_path}", "    http-check expect status 200"]
        lines.append(f"    timeout check {CHECK_TIMEOUT_SECONDS}s")
        # Checked as DigitalOcean documents it: a check begins with a PROXY line too. Hetzner does not say.
        check = f"check port 80 check-send-proxy inter {CHECK_INTERVAL_SECONDS}s fall {CHECK_RETRIES} rise 1"
        lines += [f"    server {name} {address}:{port} send-proxy {check}" for name, address in servers.items()]
        lines.append("")
    return "\n".join(lines)
