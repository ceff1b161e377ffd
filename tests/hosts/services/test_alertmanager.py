"""Alertmanager: who is told, without the address in a readable file, and what is not said twice."""

import dataclasses

from hosts.configuration import HostFile
from hosts.services.alertmanager import alertmanager
from tests.support.debian_root import DebianRoot
from tests.support.monitored_hosts import APP_PEER, MONITORING, content, host, monitoring_host, service_of

CONFIGURATION = "/etc/prometheus/alertmanager.yml"


def test_only_a_monitoring_server_has_it() -> None:
    assert alertmanager(host(APP_PEER)) is None


def test_the_webhook_is_secret() -> None:
    service = service_of(alertmanager, monitoring_host())

    (secret,) = [file for file in service.files if file.is_secret]
    assert (secret.path, secret.owner, secret.mode) == ("/etc/prometheus/alert-webhook-url", "prometheus", 0o600)
    assert secret.content == "${secret:alert-webhook-url}"
    assert f"url_file: {secret.path}" in content(service, CONFIGURATION)


def test_where_nobody_is_to_be_told_it_sends_nothing_and_no_address_is_left() -> None:
    silent = dataclasses.replace(MONITORING, alerts_are_sent=False)
    service = service_of(alertmanager, dataclasses.replace(monitoring_host(), monitoring=silent))

    assert [file.path for file in service.files if file.is_secret] == []
    assert service.absent == ("/etc/prometheus/alert-webhook-url",)
    assert content(service, CONFIGURATION).endswith("  - name: webhook\n")


def test_it_listens_on_loopback_and_for_no_cluster() -> None:
    arguments = content(service_of(alertmanager, monitoring_host()), "/etc/default/prometheus-alertmanager")

    assert '--web.listen-address=127.0.0.1:9093 --cluster.listen-address="' in arguments
    assert "--storage.path=/srv/data/alertmanager " in arguments


def test_alertmanager_accepts_its_configuration_and_sends_everything_somewhere(debian_root: DebianRoot) -> None:
    files = [HostFile(path=CONFIGURATION, content=content(service_of(alertmanager, monitoring_host()), CONFIGURATION))]

    check = debian_root.try_script(files, f"amtool check-config {CONFIGURATION}")
    assert check.code == 0, check.said

    for severity in ("warning", "critical"):
        route = f"amtool config routes test --config.file={CONFIGURATION} severity={severity} alertname=CpuBusy 2>/dev/null"
        answer = debian_root.try_script(files, route)
        assert (answer.code, answer.said) == (0, "webhook")


def test_a_critical_alert_silences_the_warning_of_the_same_disk_alone(debian_root: DebianRoot) -> None:
    configuration = content(service_of(alertmanager, monitoring_host()), CONFIGURATION)
    script = f"""
    listen="--web.listen-address=127.0.0.1:9 --cluster.listen-address="
    prometheus-alertmanager --config.file={CONFIGURATION} --storage.path=/tmp $listen 2>/dev/null &
    tell() {{ amtool --alertmanager.url=http://127.0.0.1:9 "$@"; }}
    until tell alert query >/dev/null 2>&1; do sleep 0.1; done
    tell alert add DiskFull server=a region=eu mountpoint=/ severity=critical
    tell alert add DiskFull server=a region=eu mountpoint=/ severity=warning
    tell alert add DiskFull server=a region=eu mountpoint=/srv/data severity=warning
    until [ "$(tell alert query --inhibited severity=warning -o json | grep -o fingerprint | wc -l)" != 0 ]; do sleep 0.1; done
    tell alert query --active severity=warning -o json | grep -o '"mountpoint":"[^"]*"'
    kill %1
    """
    answer = debian_root.try_script([HostFile(path=CONFIGURATION, content=configuration)], script)

    assert answer.said.splitlines() == ['"mountpoint":"/srv/data"']
