"""How an application server gets the certificate that visitors see."""

import dataclasses
import shlex
from typing import Any

import pytest

from hosts.configuration import Service
from hosts.services.certificates import ATTEMPT_MINUTES, certificates
from tests.support.application_host import application_host


def _service(**application: Any) -> Service:
    service = certificates(application_host(**application))
    assert isinstance(service, Service)
    return service


def test_only_application_servers_have_it() -> None:
    assert certificates(dataclasses.replace(application_host(), role="kubernetes-worker")) is None


def test_every_public_name_is_asked_for_at_the_given_authority() -> None:
    service = _service(hostnames=("api.example.com", "www.example.com"), acme_directory="https://ca.internal:14000/dir")

    text = service.files[0].content
    arguments = shlex.split(text[text.index("certbot certonly") :].partition("||")[0])
    names = [arguments[index + 1] for index, argument in enumerate(arguments) if argument == "--domain"]
    assert names == ["api.example.com", "www.example.com"]
    assert arguments[arguments.index("--server") + 1] == "https://ca.internal:14000/dir"


def test_attempts_stay_below_the_five_failures_an_hour_that_block_a_name() -> None:
    timer = next(file for file in _service().files if file.path.endswith(".timer"))

    assert f"OnUnitInactiveSec={ATTEMPT_MINUTES}min" in timer.content
    assert 60 / ATTEMPT_MINUTES < 5


def test_nginx_has_the_stacks_own_certificate_until_there_is_another_and_debians_timer_rests() -> None:
    service = _service()

    assert service.before[0].script == "/usr/local/sbin/rungway-certificate --bootstrap"
    assert service.units == ("rungway-certificate.timer",)
    assert service.masked == ("certbot.timer",)


def test_without_a_public_name_no_authority_is_asked() -> None:
    service = _service(hostnames=())

    assert (service.packages, service.units, service.masked) == ((), (), ())
    assert len(service.before) == 1


def test_where_cloudflare_certifies_nothing_asks_an_acme_authority_any_more() -> None:
    service = _service(origin_certificate=True)

    assert (service.packages, service.files, service.units, service.before) == ((), (), (), ())
    assert service.absent == tuple(file.path for file in _service().files)


@pytest.mark.parametrize(
    ("application", "problem"),
    [
        ({"hostnames": ("api.example.com; rm",)}, "hostnames: found 'api.example.com; rm'"),
        ({"acme_directory": "http://ca.internal/dir"}, "acme_directory: found 'http://ca.internal/dir'; allowed: an https:// address"),
    ],
)
def test_what_a_shell_would_misread_is_refused(application: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=f"app-eu-1: {problem}"):
        _service(**application)
