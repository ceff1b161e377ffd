"""Exporters: which ones a server has, where they listen, and that no password is where others read it."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from hosts.configuration import HostFile, Service
from hosts.services.exporters import exporters
from tests.support.debian_root import DebianRoot
from tests.support.monitored_hosts import (
    APP_PEER,
    APPLICATION,
    DATABASE_PEER,
    MONITORING,
    MONITORING_PEER,
    PGBOUNCER,
    POSTGRESQL,
    REDIS,
    REDIS_PEER,
    content,
    host,
)

FACTS = "/usr/local/lib/rungway/facts-metrics"


def _everything() -> Service:
    return exporters(host(APP_PEER, application=APPLICATION, postgresql=POSTGRESQL, pgbouncer=PGBOUNCER, redis=REDIS))


@pytest.mark.parametrize(
    ("service", "packages"),
    [
        (exporters(host(MONITORING_PEER, monitoring=MONITORING)), ("node",)),
        (exporters(host(REDIS_PEER, redis=REDIS)), ("node", "redis")),
        (exporters(host(DATABASE_PEER, postgresql=POSTGRESQL)), ("node", "postgres")),
        (exporters(host(DATABASE_PEER, postgresql=POSTGRESQL, pgbouncer=PGBOUNCER)), ("node", "postgres", "pgbouncer")),
        (_everything(), ("node", "nginx", "mtail", "postgres", "pgbouncer", "redis")),
    ],
)
def test_a_server_has_the_exporters_of_what_runs_on_it(service: Service, packages: tuple[str, ...]) -> None:
    expected = tuple(name if name == "mtail" else f"prometheus-{name}-exporter" for name in packages)

    assert service.packages == expected
    assert service.units == (*(f"{name}.service" for name in expected), "rungway-facts-metrics.timer")


def test_application_containers_on_kubernetes_have_no_nginx_to_ask() -> None:
    worker = host(MONITORING_PEER, role="kubernetes-worker", application=APPLICATION)

    assert exporters(worker).packages == ("prometheus-node-exporter",)


def test_every_exporter_listens_on_the_private_address_alone() -> None:
    service = _everything()

    for exporter, port in (("node", 9100), ("nginx", 9113), ("postgres", 9187), ("pgbouncer", 9127), ("redis", 9121)):
        assert f"--web.listen-address=10.0.1.10:{port}" in content(service, f"/etc/default/prometheus-{exporter}-exporter")
    assert 'HOST="10.0.1.10"\nPORT="3903"\n' in content(service, "/etc/default/mtail")
    assert service.probe.count("http://10.0.1.10:") == len(service.units) - 1


def test_an_address_that_the_provider_assigns_is_filled_in_later() -> None:
    assert "http://${address:app-eu-1}:9100/metrics" in exporters(host(APP_PEER, private_address=None)).probe


def test_passwords_are_in_files_that_only_root_reads() -> None:
    secrets = {file.path: file.mode for file in _everything().files if file.is_secret}

    assert secrets == {
        "/etc/default/prometheus-postgres-exporter": 0o600,
        "/etc/default/prometheus-pgbouncer-exporter": 0o600,
        "/etc/default/prometheus-redis-exporter": 0o600,
    }


def test_the_stores_are_asked_over_tls_that_is_verified() -> None:
    service = _everything()
    authority = "/etc/rungway/tls/authority.crt"

    assert f"sslmode=verify-full&sslrootcert={authority}" in content(service, "/etc/default/prometheus-postgres-exporter")
    assert f"sslmode=verify-full&sslrootcert={authority}" in content(service, "/etc/default/prometheus-pgbouncer-exporter")
    redis = content(service, "/etc/default/prometheus-redis-exporter")
    assert 'REDIS_ADDR="rediss://127.0.0.1:6379"' in redis
    assert f"--tls-ca-cert-file={authority}" in redis


def test_a_unit_tries_until_its_address_is_there_and_only_the_node_exporter_sees_the_real_file_systems() -> None:
    service = _everything()
    drop_ins = {file.path.split("/")[4]: file.content for file in service.files if file.path.endswith("/rungway.conf")}

    assert len(drop_ins) == 6
    for unit, text in drop_ins.items():
        assert "StartLimitIntervalSec=0\n" in text
        assert "Restart=always\n" in text
        assert ("ProtectSystem=strict" in text) == (unit != "prometheus-node-exporter.service.d")


def _facts(tmp_path: Path) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run the script with its paths below `tmp_path`."""
    script = content(exporters(host()), FACTS)
    for path in ("/var/lib/prometheus/node-exporter", "/etc/rungway/tls", "/run/reboot-required"):
        script = script.replace(path, f"{tmp_path}{path}")
    (tmp_path / "var/lib/prometheus/node-exporter").mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=False)
    return done, tmp_path / "var/lib/prometheus/node-exporter/rungway-facts.prom"


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_the_timer_tells_when_certificates_end_and_that_a_reboot_is_due(tmp_path: Path) -> None:
    tls = tmp_path / "etc/rungway/tls"
    tls.mkdir(parents=True)
    command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=a", "-days", "30"]
    subprocess.run([*command, "-keyout", "/dev/null", "-out", str(tls / "server.crt")], capture_output=True, check=True)
    in_30_days = time.time() + 30 * 86400

    done, metrics = _facts(tmp_path)

    assert done.returncode == 0, done.stderr
    end = re.search(
        rf'^rungway_certificate_not_after_timestamp_seconds{{path="{tls}/server.crt"}} (\d+)$', metrics.read_text(), re.MULTILINE
    )
    assert end
    assert abs(int(end[1]) - in_30_days) < 600
    assert "rungway_reboot_required 0\n" in metrics.read_text()

    (tmp_path / "run").mkdir()
    (tmp_path / "run/reboot-required").touch()
    _facts(tmp_path)
    assert "rungway_reboot_required 1\n" in metrics.read_text()


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_a_broken_certificate_fails_the_unit_and_leaves_the_last_figures(tmp_path: Path) -> None:
    tls = tmp_path / "etc/rungway/tls"
    tls.mkdir(parents=True)
    (tls / "server.crt").write_text("no certificate\n")

    done, metrics = _facts(tmp_path)

    assert done.returncode != 0
    assert not metrics.exists()


def test_mtail_counts_requests_and_their_times(debian_root: DebianRoot) -> None:
    program = HostFile(path="/srv/requests.mtail", content=content(_everything(), "/etc/mtail/requests.mtail"))
    log = HostFile(path="/srv/requests.log", content="200 0.004\n500 1.500\n101 99.000\nnonsense\n")
    command = "mtail --progs /srv/requests.mtail --logs /srv/requests.log --one_shot --one_shot_format=prometheus --logtostderr"

    # The end of the answer is kept: what is looked for goes there.
    answer = debian_root.try_script([program, log], f"set -o pipefail; {command} 2>/dev/null | grep -E 'status=|_count|le=\"0.005\"'")
    assert answer.code == 0, answer.said
    shown = answer.said

    assert 'http_requests_total{prog="requests.mtail",status="500"} 1' in shown
    assert 'http_request_duration_seconds_count{prog="requests.mtail"} 2' in shown
    assert 'http_request_duration_seconds_bucket{prog="requests.mtail",le="0.005"} 1' in shown
