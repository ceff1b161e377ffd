"""The certificate of the public names, /etc/rungway/tls/site.crt and site.key.

Behind Cloudflare it is Cloudflare's own, which is there before the server is: nginx has it among its files (`hosts.services.nginx`), and
nothing is left to do here. Else it comes from an ACME authority, over HTTP. nginx must run before such an authority can ask it, so both
files first point to the stack's own certificate, and to the authority's from the moment on when there is one. DNS may not lead here yet
when a server is new; so no convergence waits for the certificate, and a timer tries until it comes. Servers without a public name keep
the stack's own.
"""

import re

from hosts.configuration import Directory, HostFile, Service, Task
from hosts.specification import HostSpecification
from hosts.templating import render_template

TLS_DIRECTORY = "/etc/rungway/tls"

WEBROOT = "/var/www/acme"
"""Where certbot leaves the tokens that nginx shows to the authority."""

ATTEMPT_MINUTES = 15
"""Between two attempts, in minutes. Let's Encrypt blocks a name for an hour after five failures ("Rate Limits", failed validations)."""

SCRIPT = "/usr/local/sbin/rungway-certificate"

_UNITS = ("rungway-certificate.service", "rungway-certificate.timer")
_UNIT_DIRECTORY = "/etc/systemd/system"

_HOST_NAME = re.compile(r"[a-z0-9.-]+")
_DIRECTORY = re.compile(r"https://[A-Za-z0-9._~:/-]+")


def certificates(host: HostSpecification) -> Service | None:
    """The certificate by ACME of nginx on a server of the role app, or its end; None elsewhere. nginx converges after it.

    Raises:
        ValueError: a host name or the authority's address has characters that none has.
    """
    application = host.application
    if host.role != "app" or application is None:
        return None
    for name in application.hostnames:
        if not _HOST_NAME.fullmatch(name):
            raise ValueError(f"{host.name}: hostnames: found {name!r}; allowed: lower-case letters, digits, dots and hyphens")
    if application.origin_certificate:
        return _no_attempts()
    if not _DIRECTORY.fullmatch(application.acme_directory):
        raise ValueError(f"{host.name}: acme_directory: found {application.acme_directory!r}; allowed: an https:// address")
    values = {
        "tls": TLS_DIRECTORY,
        "webroot": WEBROOT,
        "hostnames": application.hostnames,
        "acme_directory": application.acme_directory,
        "minutes": ATTEMPT_MINUTES,
    }
    names = _UNITS if application.hostnames else ()
    return Service(
        name="certificates",
        packages=("certbot",) if application.hostnames else (),
        directories=(Directory(path=WEBROOT), *([Directory(path="/etc/letsencrypt")] if application.hostnames else [])),
        files=(
            HostFile(path=SCRIPT, content=render_template("certificates/certificate.sh", **values), mode=0o755),
            *(HostFile(path=f"{_UNIT_DIRECTORY}/{name}", content=render_template(f"certificates/{name}", **values)) for name in names),
        ),
        checks=(f"bash -n {SCRIPT}",),
        before=(
            Task(
                name="the stack's own certificate until there is another",
                unless=f"test -e {TLS_DIRECTORY}/site.crt -a -e {TLS_DIRECTORY}/site.key",
                script=f"{SCRIPT} --bootstrap",
            ),
        ),
        units=names[1:],
        # Debian's own timer would renew a second time, without telling nginx.
        masked=("certbot.timer",) if application.hostnames else (),
    )


def _no_attempts() -> Service:
    """Nothing asks an ACME authority, also where something once did: its certificate would take the place of nginx' own."""
    return Service(
        name="certificates",
        absent=(SCRIPT, *(f"{_UNIT_DIRECTORY}/{name}" for name in _UNITS)),
    )
