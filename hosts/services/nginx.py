"""nginx in front of the application: TLS, HTTP/2 and HTTP/3, compression, limits for each client, and the switch between two versions.

The application has two colours, on two ports; files that the rollout writes say which one serves. Behind a load balancer every
connection to ports 80 and 443, health checks included, starts with a PROXY line, and nginx takes no other there: what asks without it
(the other servers of the stack) uses `PRIVATE_PORT` on the private address.
"""

from hosts.configuration import Directory, HostFile, Service, address_of
from hosts.reachability import CLOUDFLARE_CIDRS
from hosts.services.application import DRAIN_SECONDS, SERVING_FILES, colours, health_check_path
from hosts.services.base import CERTIFICATE, KEY
from hosts.services.certificates import TLS_DIRECTORY, WEBROOT
from hosts.specification import ApplicationService, HostSpecification
from hosts.templating import render_template
from hosts.tuning import NGINX, UVICORN, tuned

PRIVATE_PORT = 8080
"""Health and ACME challenges on the private address, for the other servers of the stack."""

STATUS_ADDRESS = "127.0.0.1:81"
"""Where the exporter reads nginx' counters (`hosts.services.exporters`)."""

REQUEST_LOG = "/var/log/nginx/requests.log"
"""A line of status and seconds for each request (`hosts.services.exporters`)."""

REQUESTS_PER_SECOND = 50
REQUEST_BURST = 200
"""Requests of one client address: the plans' burst of 200, and a rate that an office behind one address does not reach."""

LOGINS_PER_MINUTE = 20
LOGIN_BURST = 10
"""Requests of one client address to paths that check passwords: the plans' rate for clients that have not logged in."""

CONNECTIONS = 200
"""Connections of one client address at a time, WebSockets among them."""

UPLOAD_MB = 10
"""Largest request body in MiB. Images go to object storage directly, never through here."""

COMPRESSED_TYPES = ("text/plain", "text/css", "application/json", "application/javascript", "text/xml", "application/xml")
"""What the plans compress, beside HTML."""

LOGIN_PATHS = r"^/(api/)?(v[0-9]+/)?(auth/)?(login|signin|sign-in|token|register|signup|sign-up|password|reset-password)(/|$)"


def nginx(host: HostSpecification) -> Service | None:
    """nginx on a server of the role app; None elsewhere (on Kubernetes the ingress does its work).

    Raises:
        ValueError: the health check's path has characters that none has.
    """
    application = host.application
    if host.role != "app" or application is None:
        return None
    return Service(
        name="nginx",
        packages=("nginx", "libnginx-mod-http-brotli-filter", "libnginx-mod-http-brotli-static", "curl"),
        directories=(Directory(path=WEBROOT),) if _by_acme(application) else (),
        files=(
            HostFile(path="/etc/nginx/nginx.conf", content=_main(host, application)),
            HostFile(path="/etc/nginx/rungway/site.conf", content=_site(host, application)),
            *_origin_certificate(application),
            HostFile(
                path="/etc/systemd/system/nginx.service.d/rungway.conf",
                content=render_template("nginx/rungway.conf", drain_seconds=DRAIN_SECONDS),
            ),
        ),
        # Until there is a public certificate, and where there is no public name.
        reads=(CERTIFICATE, KEY),
        checks=("nginx -t -q",),
        units=("nginx.service",),
        on_change="reload",
        probe=f"curl -fsS -o /dev/null http://{STATUS_ADDRESS}/stub_status",
    )


def _origin_certificate(application: ApplicationService) -> tuple[HostFile, ...]:
    """Here, so that another certificate is tried with its key before it replaces the old one, and nginx reads it at once."""
    if not application.origin_certificate:
        return ()
    return (
        HostFile(path=f"{TLS_DIRECTORY}/site.crt", content="${tls:origin-certificate}"),
        HostFile(path=f"{TLS_DIRECTORY}/site.key", content="${tls:origin-key}", mode=0o600),
    )


def _main(host: HostSpecification, application: ApplicationService) -> str:
    return render_template(
        "nginx/nginx.conf",
        hostnames=application.hostnames,
        # Connections that come without a PROXY line (the private port) have an empty one, and are not limited.
        peer="$proxy_protocol_addr" if application.proxy_protocol else "$remote_addr",
        cloudflare=CLOUDFLARE_CIDRS,
        request_log=REQUEST_LOG,
        requests_per_second=REQUESTS_PER_SECOND,
        logins_per_minute=LOGINS_PER_MINUTE,
        upload_mb=UPLOAD_MB,
        compressed=" ".join(COMPRESSED_TYPES),
        tls=TLS_DIRECTORY,
        colours=colours(application),
        tuned=tuned(NGINX, host),
        uvicorn_idle_seconds=tuned(UVICORN, host)["timeout_keep_alive"],
        acme_peers=_acme_peers(host, application),
        private_port=PRIVATE_PORT,
        drain_seconds=DRAIN_SECONDS,
    )


def _site(host: HostSpecification, application: ApplicationService) -> str:
    return render_template(
        "nginx/site.conf",
        hostnames=application.hostnames,
        health_check_path=health_check_path(host),
        proxy_protocol=application.proxy_protocol,
        # A load balancer passes TCP alone.
        quic=not application.proxy_protocol,
        serving_files=[(colour, SERVING_FILES[colour]) for colour, _ in colours(application)],
        by_acme=_by_acme(application),
        webroot=WEBROOT,
        acme_peers=_acme_peers(host, application),
        address=address_of(host),
        private_port=PRIVATE_PORT,
        status_address=STATUS_ADDRESS,
        connections=CONNECTIONS,
        burst=REQUEST_BURST,
        login_burst=LOGIN_BURST,
        login_paths=LOGIN_PATHS,
    )


def _by_acme(application: ApplicationService) -> bool:
    """Whether an ACME authority asks for challenges."""
    return bool(application.hostnames) and not application.origin_certificate


def _acme_peers(host: HostSpecification, application: ApplicationService) -> tuple[str, ...]:
    """The other application servers, of every region, where a challenge may be; none where none is asked for."""
    if not _by_acme(application):
        return ()
    return tuple(address_of(peer) for peer in host.peers if peer.role == "app")
