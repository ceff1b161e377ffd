"""What nginx is told, where it depends on the stack."""

import dataclasses
import re

import pytest

from hosts.configuration import Service
from hosts.reachability import CLOUDFLARE_CIDRS
from hosts.services import exporters
from hosts.services.application import colours
from hosts.services.nginx import REQUEST_LOG, STATUS_ADDRESS, nginx
from hosts.specification import HostSpecification, Peer
from tests.support.application_host import application_host

PEERS = (
    Peer("app-eu-2", "app", None, "eu"),
    Peer("app-us-1", "app", "10.1.1.10", "us"),
    Peer("redis-eu-1", "redis", "10.0.3.10", "eu"),
)


def _text(host: HostSpecification, name: str) -> str:
    service = nginx(host)
    assert isinstance(service, Service)
    return next(file.content for file in service.files if file.path.endswith(name))


def _listens(site: str) -> list[str]:
    return re.findall(r"listen (.+);", site)


def test_only_application_servers_have_it() -> None:
    host = application_host()

    assert nginx(dataclasses.replace(host, role="kubernetes-worker")) is None
    assert nginx(dataclasses.replace(host, application=None)) is None


def test_the_directly_reached_server_speaks_http3_and_believes_cloudflare_alone() -> None:
    host = application_host()
    main = _text(host, "nginx.conf")

    assert "443 quic" in _listens(_text(host, "site.conf"))
    assert "geo $remote_addr $through_cloudflare" in main
    assert all(f"        {network} 1;\n" in main for network in CLOUDFLARE_CIDRS)


def test_behind_a_load_balancer_the_public_ports_take_a_proxy_line_and_the_private_one_none() -> None:
    host = application_host(proxy_protocol=True)
    listens = _listens(_text(host, "site.conf"))

    public = [listen for listen in listens if re.match(r"(\[::\]:)?(80|443)\b", listen)]
    assert len(public) == 8
    assert all(listen.endswith(" proxy_protocol") for listen in public)
    assert [listen for listen in listens if listen not in public] == ["10.0.1.10:8080", "127.0.0.1:81"]
    assert "geo $proxy_protocol_addr $through_cloudflare" in _text(host, "nginx.conf")


def test_without_a_public_name_every_name_is_served_and_no_header_is_believed() -> None:
    host = application_host(hostnames=())
    site = _text(host, "site.conf")

    assert "ssl_reject_handshake" not in site
    assert "443 ssl default_server" in _listens(site)
    assert "acme-challenge" not in site
    assert "cf_connecting_ip" not in _text(host, "nginx.conf")


def test_with_a_public_name_no_other_one_is_served() -> None:
    site = _text(application_host(), "site.conf")

    assert "ssl_reject_handshake on;" in site
    assert site.count("server_name api.example.com;") == 2


def test_challenges_are_also_looked_for_on_the_other_servers_of_every_region_but_not_passed_on_by_them() -> None:
    host = application_host(peers=PEERS)
    site = _text(host, "site.conf")
    public, _, private = site.partition("For the other servers of the stack")

    assert re.findall(r"server (\S+:8080) ", _text(host, "nginx.conf")) == ["${address:app-eu-2}:8080", "10.1.1.10:8080"]
    assert "try_files $uri @acme_peers;" in public
    assert "acme-challenge" in private
    assert "@acme_peers" not in private
    assert "@acme_peers" not in _text(application_host(), "site.conf")


def test_challenges_are_answered_over_https_too_where_cloudflare_redirects_an_authority_to() -> None:
    servers = _text(application_host(), "site.conf").split("\nserver {")
    (secure,) = [server for server in servers if "443 ssl" in server and "server_name api.example.com;" in server]

    assert "location ^~ /.well-known/acme-challenge/" in secure


def test_cloudflares_certificate_is_tried_with_its_key_before_it_replaces_another_and_no_challenge_is_answered() -> None:
    host = application_host(peers=PEERS, origin_certificate=True)
    service = nginx(host)
    assert isinstance(service, Service)
    files = {file.path: file for file in service.files}

    assert files["/etc/rungway/tls/site.crt"].content == "${tls:origin-certificate}"
    assert (files["/etc/rungway/tls/site.key"].content, files["/etc/rungway/tls/site.key"].mode) == ("${tls:origin-key}", 0o600)
    assert files["/etc/rungway/tls/site.key"].is_secret
    assert "ssl_certificate /etc/rungway/tls/site.crt;" in files["/etc/nginx/nginx.conf"].content
    assert service.checks == ("nginx -t -q",)
    assert "acme" not in "".join(file.content for file in service.files)
    assert service.directories == ()
    by_acme = nginx(application_host(peers=PEERS))
    assert isinstance(by_acme, Service)
    assert not [file.path for file in by_acme.files if file.path.startswith("/etc/rungway/tls/")]


def test_idle_connections_are_at_most_half_of_what_the_workers_take() -> None:
    host = application_host(workers=2, worker_concurrency=100)

    (kept,) = set(re.findall(r"keepalive (\d+);", _text(host, "nginx.conf")))
    assert int(kept) * host.cores == 100
    assert "keepalive 1;" in _text(application_host(workers=1, worker_concurrency=1), "nginx.conf")


def test_both_colours_are_known_and_every_server_looks_which_one_serves() -> None:
    host = application_host()
    assert host.application is not None
    site, main = _text(host, "site.conf"), _text(host, "nginx.conf")

    assert [f"127.0.0.1:{port} " in main for _, port in colours(host.application)] == [True, True]
    # Plain HTTP by any name and by ours, HTTPS, and the private port.
    assert site.count("if (-f /var/lib/rungway-application/blue.serves)") == 4
    assert site.count("if (-f /var/lib/rungway-application/green.serves)") == 4


def test_exporters_find_what_they_read() -> None:
    assert f"http://{STATUS_ADDRESS}/stub_status" == exporters.NGINX_STATUS_URL
    assert exporters.REQUEST_LOG == REQUEST_LOG


def test_a_path_that_would_end_the_directive_is_refused() -> None:
    with pytest.raises(ValueError, match=r"app-eu-1: health_check_path: found '/health; return 200'; allowed: / and letters"):
        nginx(application_host(health_check_path="/health; return 200"))
