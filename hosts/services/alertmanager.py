"""Alertmanager on the monitoring server: who is told, how often, and what is not said twice."""

from hosts.configuration import Directory, HostFile, Service, secret
from hosts.services.prometheus import sandbox
from hosts.specification import HostSpecification
from hosts.templating import render_template

PORT = 9093
"""On the loopback interface: only Prometheus and Grafana, which are beside it, talk to it."""

_URL_FILE = "/etc/prometheus/alert-webhook-url"


def alertmanager(host: HostSpecification) -> Service | None:
    """Alertmanager, which posts alerts to the webhook of the secret `alert-webhook-url` where somebody is to be told."""
    if not host.monitoring:
        return None
    data = f"{host.data_mount}/alertmanager" if host.data_mount else "/var/lib/prometheus/alertmanager"
    # Without a cluster address it talks to no other Alertmanager, and listens for none.
    arguments = (
        "--config.file=/etc/prometheus/alertmanager.yml",
        f"--storage.path={data}",
        f"--web.listen-address=127.0.0.1:{PORT}",
        "--cluster.listen-address=",
    )
    sent = host.monitoring.alerts_are_sent
    url = HostFile(path=_URL_FILE, content=secret("alert-webhook-url"), owner="prometheus", group="prometheus", mode=0o600)
    configuration = render_template("alertmanager/alertmanager.yml", url_file=_URL_FILE if sent else "")
    return Service(
        name="alertmanager",
        packages=("prometheus-alertmanager",),
        directories=(Directory(path=data, owner="prometheus", group="prometheus", mode=0o750),),
        files=(
            HostFile(path="/etc/prometheus/alertmanager.yml", content=configuration),
            *([url] if sent else []),
            HostFile(path="/etc/default/prometheus-alertmanager", content=f'ARGS="{" ".join(arguments)}"\n'),
            sandbox("prometheus-alertmanager", memory_mb=256, writable=data),
        ),
        absent=() if sent else (_URL_FILE,),
        checks=("amtool check-config /etc/prometheus/alertmanager.yml",),
        units=("prometheus-alertmanager.service",),
        probe=f"curl -fsS -o /dev/null http://127.0.0.1:{PORT}/-/ready",
    )
