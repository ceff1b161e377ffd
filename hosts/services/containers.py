"""The container engine: Docker without its networking. Containers use the host's network, so the firewall's rules hold for them too."""

from hosts.configuration import HostFile, Service
from hosts.specification import HostSpecification
from hosts.templating import render_template


def containers(host: HostSpecification) -> Service | None:
    """Docker and Docker Compose where something runs in containers: the application's servers and the monitoring server; None elsewhere."""
    if not (host.role == "app" and host.application) and host.monitoring is None:
        return None
    return Service(
        name="containers",
        packages=("docker.io", "docker-cli", "docker-compose"),
        files=(
            HostFile(path="/etc/docker/daemon.json", content=render_template("containers/daemon.json")),
            HostFile(path="/etc/systemd/system/docker.service.d/rungway.conf", content=render_template("containers/rungway.conf")),
        ),
        checks=("dockerd --validate --config-file /etc/docker/daemon.json",),
        units=("containerd.service", "docker.service"),
        probe="docker info",
    )
