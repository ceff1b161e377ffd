"""Grafana's containers: pinned, confined, on the host's loopback; dashboards that ask for figures that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML

from hosts.configuration import HostFile
from hosts.services.grafana import DASHBOARDS, IMAGES, grafana
from hosts.services.prometheus import prometheus
from tests.support.debian_root import DebianRoot
from tests.support.monitored_hosts import APP_PEER, MONITORING, content, host, monitoring_host, service_of

ROOT = "/etc/rungway/observability"


def _file(name: str, **changes: Any) -> str:
    return content(service_of(grafana, monitoring_host(**changes)), f"{ROOT}/{name}")


def _containers() -> dict[str, Any]:
    services: dict[str, Any] = YAML(typ="safe").load(_file("compose.yaml"))["services"]
    return services


def test_only_a_monitoring_server_has_it() -> None:
    assert grafana(host(APP_PEER)) is None


def test_beside_the_application_there_is_no_room_for_it() -> None:
    assert grafana(host(APP_PEER, monitoring=MONITORING)) is None


def test_every_image_has_an_exact_version() -> None:
    assert {name: container["image"] for name, container in _containers().items()} == dict(IMAGES)
    assert all(re.fullmatch(r"docker\.io/grafana/\w+:v?\d+\.\d+\.\d+", image) for image in IMAGES.values())


def test_every_container_is_confined() -> None:
    for name, container in _containers().items():
        assert container["read_only"] is True, name
        assert container["cap_drop"] == ["ALL"], name
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert container["network_mode"] == "host", name
        assert "ports" not in container, name
        assert container["mem_limit"].endswith("m"), name


def test_only_the_reader_of_journals_is_root_and_all_it_may_is_read() -> None:
    root = {name: container.get("cap_add") for name, container in _containers().items() if not container["user"].startswith("${")}

    assert root == {"alloy": ["DAC_READ_SEARCH"]}


def test_a_container_writes_to_its_own_directory_alone() -> None:
    for name, container in _containers().items():
        writable = [volume for volume in container["volumes"] if not volume.endswith(":ro")]
        assert [volume.split(":")[0] for volume in writable] == [f"/srv/data/observability/{name}"]


def test_everything_listens_on_loopback_but_the_receiver_of_traces() -> None:
    texts = {name: _file(name) for name in ("compose.yaml", "loki.yaml", "tempo.yaml", "config.alloy")}

    assert "GF_SERVER_HTTP_ADDR: 127.0.0.1\n" in texts["compose.yaml"]
    assert not any(re.search(r"\b0\.0\.0\.0\b", text) for text in texts.values())
    assert re.findall(r'endpoint = "(10\.[\d.]+:\d+)"', texts["config.alloy"]) == ["10.0.4.10:4317", "10.0.4.10:4318"]
    assert texts["config.alloy"].count("cert_file =") == 2
    assert "client_ca_file" not in texts["config.alloy"]


def test_the_password_is_in_a_file_of_its_own() -> None:
    service = service_of(grafana, monitoring_host())

    (secret,) = [file for file in service.files if file.is_secret]
    assert (secret.content, secret.owner, secret.mode) == ("${secret:grafana-admin}", "observability", 0o400)
    assert f"{secret.path}:/run/secrets/grafana-admin:ro" in _containers()["grafana"]["volumes"]


def test_logs_and_traces_end_with_the_retention() -> None:
    assert "retention_period: 720h\n" in _file("loki.yaml")
    assert "block_retention: 720h\n" in _file("tempo.yaml")


def test_the_journals_that_were_sent_are_read_from_where_they_are_kept() -> None:
    assert "/srv/data/journal:/journals/others:ro" in _containers()["alloy"]["volumes"]
    assert "- /var/log/journal/remote:/journals/others:ro\n" in _file("compose.yaml", data_mount=None)


def test_one_that_fails_is_started_again_and_none_before_the_data_volume_is_there() -> None:
    assert {name: container["restart"] for name, container in _containers().items()} == dict.fromkeys(IMAGES, "on-failure")
    unit = content(service_of(grafana, monitoring_host()), "/etc/systemd/system/rungway-observability.service")
    assert "RequiresMountsFor=/srv/data/observability\n" in unit


def _targets() -> Iterator[tuple[str, str]]:
    """The data source and the expression of everything on the dashboards."""
    for name in DASHBOARDS:
        for panel in json.loads(_file(f"dashboards/{name}.json"))["panels"]:
            yield from ((target["datasource"]["uid"], target["expr"]) for target in panel["targets"])


def test_dashboards_ask_data_sources_that_are_there() -> None:
    sources = YAML(typ="safe").load(_file("provisioning/datasources/rungway.yaml"))["datasources"]

    assert {source for source, _ in _targets()} <= {source["uid"] for source in sources}
    assert len({json.loads(_file(f"dashboards/{name}.json"))["uid"] for name in DASHBOARDS}) == len(DASHBOARDS)


def test_dashboards_use_only_recorded_figures_that_the_rules_record() -> None:
    rules = "\n".join(file.content for file in service_of(prometheus, monitoring_host()).files if "/rules/" in file.path)
    recorded = set(re.findall(r"record: (\S+)", rules))

    used = {name for _, expression in _targets() for name in re.findall(r"\b(?:server|region):\w+:\w+", expression)}

    assert used
    assert used <= recorded


def test_prometheus_can_read_every_expression(debian_root: DebianRoot) -> None:
    expressions = [expression for source, expression in _targets() if source == "prometheus"]
    rules = [{"record": f"panel_{number}", "expr": expression} for number, expression in enumerate(expressions)]
    panels = HostFile(path="/srv/panels.json", content=json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    answer = debian_root.try_script([panels], "promtool check rules /srv/panels.json")

    assert answer.code == 0, answer.said
    assert f"{len(expressions)} rules found" in answer.said


def test_compose_accepts_its_file_and_asks_for_the_account(debian_root: DebianRoot) -> None:
    files = [HostFile(path="/srv/compose.yaml", content=_file("compose.yaml"))]
    command = "docker-compose --file /srv/compose.yaml config --quiet"

    good = debian_root.try_script(files, f"OBSERVABILITY_USER=990:990 {command}")
    assert good.code == 0, good.said

    assert "OBSERVABILITY_USER is missing a value" in debian_root.try_script(files, command).said
