"""Prices from the providers' APIs, against a server on the loopback interface that answers as their documentation says."""

import json
import re
import threading
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from infra.catalog import SIZES_FILE
from infra.catalog.prices import PRICES_FILE, parse_prices
from rungway.catalogue_file import parse_catalogue, render_catalogue
from rungway.errors import RungwayError
from rungway.prices_refresh import refresh_prices

TODAY = date(2026, 11, 21)
TOKEN = "read-only-token"


class Api:
    """A loopback API. `answers` maps a path with its query to a list of (status, body, headers), the last of which is repeated."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, Any, dict[str, str]]]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.waits: list[float] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.requests.append((self.path, self.headers.get("Authorization")))
                answers = api.answers.get(urlsplit(self.path).path + _page(self.path)) or [(404, {"error": "not found"}, {})]
                status, body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(data))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


def _page(path: str) -> str:
    page = parse_qs(urlsplit(path).query).get("page", ["1"])[0]
    return "" if page == "1" else f"?page={page}"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    api = Api()
    thread = threading.Thread(target=api.server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("HCLOUD_ENDPOINT", f"{api.address}/v1")
    monkeypatch.setenv("DIGITALOCEAN_API_URL", api.address)
    monkeypatch.setenv("HCLOUD_TOKEN", TOKEN)
    monkeypatch.setenv("DIGITALOCEAN_TOKEN", TOKEN)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield api
    api.server.shutdown()
    api.server.server_close()
    thread.join()


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A copy of the price catalogue; a copy of the sizes is beside it."""
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "sizes.yaml").write_text(SIZES_FILE.read_text())
    copy = tmp_path / "catalogue" / "prices.yaml"
    copy.write_text(PRICES_FILE.read_text())
    return copy


def refresh(provider: str, catalogue: Path, api: Api, token_file: Path | None = None) -> str:
    return refresh_prices(
        provider,
        token_file=token_file,
        prices_file=catalogue,
        sizes_file=catalogue.with_name("sizes.yaml"),
        today=TODAY,
        wait=api.waits.append,
    )


def money(net: str) -> dict[str, str]:
    """Hetzner writes net prices with ten decimals, gross ones with sixteen."""
    return {"net": f"{Decimal(net):.10f}", "gross": f"{Decimal(net) * Decimal('1.19'):.16f}"}


def at(location: str, net: str, traffic_tb: int = 20) -> dict[str, Any]:
    return {
        "location": location,
        "price_hourly": money("0.0100"),
        "price_monthly": money(net),
        "included_traffic": traffic_tb * 1024**4,
        "price_per_tb_traffic": money("1.00"),
    }


def hetzner_pricing() -> dict[str, Any]:
    """GET /v1/pricing, in the form of docs.hetzner.cloud."""
    eu = ("fsn1", "nbg1", "hel1")
    return {
        "pricing": {
            "currency": "EUR",
            "vat_rate": "19.000000",
            "image": {"price_per_gb_month": money("0.0143")},
            "volume": {"price_per_gb_month": money("0.0600")},
            "server_backup": {"percentage": "20.0000000000"},
            "floating_ip": {"price_monthly": money("3.00")},
            "traffic": {"price_per_tb": money("1.00")},
            "floating_ips": [{"type": "ipv4", "prices": [{"location": place, "price_monthly": money("3.00")} for place in eu]}],
            "primary_ips": [
                {
                    "type": kind,
                    "prices": [{"location": place, "price_hourly": money("0.0008"), "price_monthly": money(net)} for place in eu],
                }
                for kind, net in (("ipv4", "0.50"), ("ipv6", "0.00"))
            ],
            "server_types": [
                {"id": 114, "name": "cx23", "prices": [at(place, "5.49") for place in eu]},
                {"id": 115, "name": "cx33", "prices": [at(place, "9.99") for place in eu]},
                # Nuremberg costs more than the rest of its group.
                {"id": 116, "name": "cx43", "prices": [at("fsn1", "15.99"), at("nbg1", "16.99"), at("hel1", "15.99")]},
                {"id": 200, "name": "cx24", "prices": [at(place, "6.25") for place in eu]},
                {"id": 110, "name": "ccx43", "prices": [at("ash", "280.10", 4), at("hil", "280.10", 4)]},
            ],
            "load_balancer_types": [
                {"id": 1, "name": "lb11", "prices": [at(place, "7.49") for place in eu]},
                {"id": 2, "name": "lb21", "prices": [at(place, "21.30") for place in eu]},
            ],
        }
    }


def server_type(name: str, cores: int, memory: float, disk: int, *locations: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An entry of GET /v1/server_types, in the form of docs.hetzner.cloud."""
    return {
        "id": 114,
        "name": name,
        "description": name.upper(),
        "cores": cores,
        "memory": memory,
        "disk": disk,
        "deprecated": False,
        "deprecation": None,
        "storage_type": "local",
        "cpu_type": "dedicated" if name.startswith("ccx") else "shared",
        "architecture": "arm" if name.startswith("cax") else "x86",
        "locations": list(locations),
        "prices": [],
        **more,
    }


def place(name: str, *, available: bool = True, until: str = "") -> dict[str, Any]:
    deprecation = {"announced": "2025-10-16T06:00:00Z", "unavailable_after": until} if until else None
    return {"id": 1, "name": name, "available": available, "recommended": False, "deprecation": deprecation}


def server_types(*entries: dict[str, Any], next_page: int | None = None) -> dict[str, Any]:
    pagination = {"page": 1, "per_page": 50, "previous_page": None, "next_page": next_page, "last_page": 1, "total_entries": len(entries)}
    return {"server_types": list(entries), "meta": {"pagination": pagination}}


EU = ("fsn1", "nbg1", "hel1")


def hetzner(api: Api, *server_type_pages: dict[str, Any]) -> None:
    """Let the API answer as Hetzner's does."""
    api.answers["/v1/pricing"] = [(200, hetzner_pricing(), {})]
    pages = server_type_pages or (server_types(server_type("cx33", 4, 8.0, 80, *(place(name) for name in EU))),)
    for number, page in enumerate(pages, start=1):
        api.answers["/v1/server_types" + ("" if number == 1 else f"?page={number}")] = [(200, page, {})]


def row(text: str, *words: str) -> str:
    """The one line of the file that has all the words."""
    (found,) = [line for line in text.splitlines() if all(f"{word}," in line for word in words)]
    return found


def test_hetzners_rows_are_rewritten_and_the_changes_named(api: Api, catalogue: Path) -> None:
    hetzner(api)
    before = catalogue.read_text()
    report = refresh("hetzner", catalogue, api).splitlines()
    text = catalogue.read_text()
    prices = parse_prices(text, "prices.yaml")

    assert "hetzner server cx33 in eu: 8.49 EUR → 9.99 EUR a month" in report
    assert "hetzner load-balancer lb21: unknown → 21.3 EUR a month" in report
    assert "hetzner server cax11 in eu: 5.99 EUR → unknown: no longer offered" in report
    assert "hetzner server cx24 in eu: new: 6.25 EUR a month" in report
    assert "hetzner server ccx43 in us: unknown → 280.1 EUR a month" in report
    assert "hetzner volume: 0.0572 EUR → 0.06 EUR a GB-month" in report
    assert not [line for line in report if " cx23 " in line]
    assert re.fullmatch(r"hetzner: \d+ prices confirmed, \d+ changed, \d+ changes of server types, as of 2026-11-21", report[-1])

    assert row(text, "name: cx33", "location: eu") == (
        "  - {provider: hetzner, item: server, name: cx33, location: eu, price: 9.99, unit: month, currency: EUR, as_of: 2026-11-21, "
        "source: hetzner-api, traffic_tb: 20}"
    )
    # A confirmed price gets the new date and source too.
    assert "price: 5.49, unit: month, currency: EUR, as_of: 2026-11-21, source: hetzner-api" in row(text, "name: cx23")
    # The group no longer agrees: a row for each of its locations.
    assert [prices.find("hetzner", "server", "cx43", place).amount for place in ("fsn1", "nbg1", "hel1")] == [  # type: ignore[union-attr]
        Decimal("15.99"),
        Decimal("16.99"),
        Decimal("15.99"),
    ]
    # What the API does not speak of, other providers' rows and every comment stay.
    unchanged = [line for line in before.splitlines() if "provider: hetzner" not in line or "item: firewall" in line]
    assert [line for line in text.splitlines() if line in set(unchanged)] == unchanged
    assert api.requests == [("/v1/pricing", f"Bearer {TOKEN}"), ("/v1/server_types?page=1&per_page=50", f"Bearer {TOKEN}")]


def test_a_second_refresh_changes_nothing(api: Api, catalogue: Path) -> None:
    hetzner(api)
    refresh("hetzner", catalogue, api)
    once = {path.name: path.read_text() for path in catalogue.parent.iterdir()}
    report = refresh("hetzner", catalogue, api)
    assert {path.name: path.read_text() for path in catalogue.parent.iterdir()} == once
    # What is kept for want of a successor is said every time.
    assert " 0 changed, " in report
    assert all(line.endswith("kept as it was") for line in report.splitlines()[:-1])


@pytest.mark.parametrize("file", [PRICES_FILE, SIZES_FILE])
def test_reading_and_writing_alone_changes_no_byte(file: Path) -> None:
    assert render_catalogue(parse_catalogue(file.read_text(), file)) == file.read_text()


def sizes_of(catalogue: Path, provider: str) -> Any:
    return parse_catalogue(catalogue.with_name("sizes.yaml").read_text(), catalogue)["server_types"][provider]


def test_hetzners_server_types_are_rewritten_too(api: Api, catalogue: Path) -> None:
    hetzner(
        api,
        server_types(
            # Orderable again; sold in one location fewer; nowhere left; one core more.
            server_type("cx33", 4, 8.0, 80, *(place(name) for name in EU)),
            server_type("cx43", 8, 16.0, 160, place("fsn1"), place("nbg1"), place("hel1", until="2026-11-01T00:00:00+00:00")),
            server_type("cpx22", 2, 4.0, 80, *(place(name, available=False) for name in EU)),
            server_type("cpx12", 2, 2.0, 40, *(place(name) for name in (*EU, "sin"))),
            next_page=2,
        ),
        server_types(
            server_type("cx24", 2, 6.0, 60, *(place(name) for name in EU), place("mars1")),
            server_type("cx53", 16, 32.0, 320, *(place(name, until="2026-01-01T00:00:00Z") for name in EU)),
            server_type("cax11", 2, 4.0, 40, place("fsn1", until="2027-06-01T00:00:00Z")),
        ),
    )
    report = refresh("hetzner", catalogue, api).splitlines()
    rows = sizes_of(catalogue, "hetzner")

    assert rows["cx33"] == {"cores": 4, "memory_gb": 8, "disk_gb": 80, "locations": ["fsn1", "nbg1", "hel1"]}
    assert "hetzner cx33: scarce: 2026-09-10 → nothing" in report
    assert "hetzner cx43: locations: fsn1, nbg1, hel1 → fsn1, nbg1" in report
    assert "hetzner cpx22: scarce: nothing → 2026-11-21" in report
    assert "hetzner cpx12: cores: 1 → 2" in report
    assert "hetzner cx24: new: 2 cores, 6 GB" in report
    assert rows["cx24"]["locations"] == ["fsn1", "nbg1", "hel1"]
    # Announced to go is not gone.
    assert rows["cax11"]["locations"] == ["fsn1"]
    assert "hetzner cx23: no longer offered; the nearest is cpx22" in report
    assert rows["cx23"] == {"retired": "2026-11", "replaced_by": "cpx22"}
    assert "hetzner cx53: no longer offered, and nothing as large is: kept as it was" in report
    # What was retired before stays as it is.
    assert rows["cx22"] == {"retired": "2026-01", "replaced_by": "cx23"}
    text = catalogue.with_name("sizes.yaml").read_text()
    assert "    cx33: {cores: 4, memory_gb: 8, disk_gb: 80, locations: [fsn1, nbg1, hel1]}\n" in text
    assert "    cx24: {cores: 2, memory_gb: 6, disk_gb: 60, locations: [fsn1, nbg1, hel1]}\n" in text
    assert text.splitlines()[0] == SIZES_FILE.read_text().splitlines()[0]


def size(slug: str, monthly: float, *, available: bool = True) -> dict[str, Any]:
    """An entry of GET /v2/sizes, in the form of docs.digitalocean.com/reference/api."""
    return {
        "slug": slug,
        "memory": 8192,
        "vcpus": 4,
        "disk": 160,
        "transfer": 5.0,
        "price_monthly": monthly,
        "price_hourly": 0.07143,
        "regions": ["ams3", "fra1", "nyc3"],
        "available": available,
        "description": "Basic",
        "networking_throughput": 2000,
        "gpu_info": None,
        "disk_info": [{"type": "local", "size": {"amount": 160, "unit": "gib"}}],
    }


def sizes(*entries: dict[str, Any], next_page: bool = False) -> dict[str, Any]:
    pages = {"next": "https://api.digitalocean.com/v2/sizes?page=2", "last": "https://api.digitalocean.com/v2/sizes?page=2"}
    return {"sizes": list(entries), "links": {"pages": pages if next_page else {}}, "meta": {"total": len(entries)}}


def test_digitaloceans_sizes_are_read_page_by_page(api: Api, catalogue: Path) -> None:
    api.answers["/v2/sizes"] = [(200, sizes(size("s-4vcpu-8gb", 50.4), size("s-1vcpu-1gb", 6.0), next_page=True), {})]
    api.answers["/v2/sizes?page=2"] = [(200, sizes(size("g-2vcpu-8gb", 63.0), size("s-8vcpu-16gb", 96.0, available=False)), {})]
    report = refresh("digitalocean", catalogue, api).splitlines()
    prices = parse_prices(catalogue.read_text(), "prices.yaml")

    assert "digitalocean server s-4vcpu-8gb: 48 USD → 50.4 USD a month" in report
    assert "digitalocean server g-2vcpu-8gb: unknown → 63 USD a month" in report
    assert "digitalocean server s-8vcpu-16gb: 96 USD → unknown: no longer offered" in report
    new = prices.find("digitalocean", "server", "s-4vcpu-8gb", "fra1")
    assert new is not None
    assert (new.amount, new.as_of, new.traffic_tb) == (Decimal("50.4"), TODAY, Decimal(5))
    assert new.source.url == "https://api.digitalocean.com/v2/sizes"
    # Volumes and the like are not in that list.
    assert prices.find("digitalocean", "volume") == parse_prices(PRICES_FILE.read_text(), "prices.yaml").find("digitalocean", "volume")
    assert [path for path, _ in api.requests] == ["/v2/sizes?page=1&per_page=200", "/v2/sizes?page=2&per_page=200"]
    assert "digitalocean s-8vcpu-16gb: no longer offered, and nothing as large is: kept as it was" in report
    assert sizes_of(catalogue, "digitalocean")["s-4vcpu-8gb"]["locations"] == ["nyc3", "ams3", "fra1"]


BUSY: tuple[int, Any, dict[str, str]] = (429, {"error": {"code": "rate_limit_exceeded"}}, {"Retry-After": "7"})
DOWN: tuple[int, Any, dict[str, str]] = (503, b"<html>Service Unavailable</html>", {})
TRUNCATED = (200, b'{"pricing": {"curr', {"Content-Length": "5000"})


def test_what_passes_is_tried_again_a_little_later_each_time(api: Api, catalogue: Path) -> None:
    hetzner(api)
    api.answers["/v1/pricing"] = [DOWN, BUSY, TRUNCATED, (200, hetzner_pricing(), {})]
    assert "cx33" in refresh("hetzner", catalogue, api)
    assert api.waits == [1.0, 7.0, 4.0]


@pytest.mark.parametrize(
    ("answer", "problem", "attempts"),
    [
        ((401, {"error": {"code": "unauthorized"}}, {}), "401: the token is not accepted", 1),
        ((403, {"error": {"code": "forbidden"}}, {}), "403: the token may not read this", 1),
        ((404, {}, {}), "404: unexpected answer", 1),
        ((302, b"", {"Location": "http://127.0.0.1:9/elsewhere"}), "302: unexpected answer", 1),
        ((429, {}, {"Retry-After": "86400"}), "429: too many requests, 4 times over", 4),
        (DOWN, "503: the API has a problem, 4 times over", 4),
        (TRUNCATED, "the answer broke off, 4 times over", 4),
        ((200, b"<html>Welcome to the hotel's network</html>", {}), "the answer is not valid JSON", 1),
        ((200, b"[1]", {}), "the answer is not a JSON object", 1),
    ],
)
def test_a_failing_api_is_one_clear_error_and_the_file_untouched(
    api: Api, catalogue: Path, answer: tuple[int, Any, dict[str, str]], problem: str, attempts: int
) -> None:
    api.answers["/v1/pricing"] = [answer]
    before = catalogue.read_bytes()
    with pytest.raises(RungwayError) as caught:
        refresh("hetzner", catalogue, api)
    assert str(caught.value) == f"Hetzner API: {api.address}/v1/pricing: {problem}"
    assert len(api.requests) == attempts
    assert all(wait <= 30 for wait in api.waits)
    assert catalogue.read_bytes() == before
    assert sorted(path.name for path in catalogue.parent.iterdir()) == ["prices.yaml", "sizes.yaml"]


def test_when_only_the_second_question_fails_both_files_stay(api: Api, catalogue: Path) -> None:
    hetzner(api)
    api.answers["/v1/server_types"] = [(403, {}, {})]
    before = {path.name: path.read_bytes() for path in catalogue.parent.iterdir()}
    with pytest.raises(RungwayError, match=r"/v1/server_types: 403: the token may not read this$"):
        refresh("hetzner", catalogue, api)
    assert {path.name: path.read_bytes() for path in catalogue.parent.iterdir()} == before


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"prices": {}}, "hetzner: the API's answer has another form than expected (KeyError: 'pricing')"),
        ({"pricing": {"currency": "EUR", "server_types": "none"}}, "hetzner: the API's answer has another form than expected (TypeError: "),
    ],
)
def test_an_answer_of_another_form_leaves_the_file_untouched(api: Api, catalogue: Path, body: dict[str, Any], problem: str) -> None:
    api.answers["/v1/pricing"] = [(200, body, {})]
    before = catalogue.read_bytes()
    with pytest.raises(RungwayError) as caught:
        refresh("hetzner", catalogue, api)
    assert str(caught.value).startswith(problem)
    assert catalogue.read_bytes() == before


@pytest.mark.parametrize("price", ["-1.00", "NaN", "free"])
def test_a_price_that_is_no_price_leaves_the_file_untouched(api: Api, catalogue: Path, price: str) -> None:
    body = hetzner_pricing()
    body["pricing"]["volume"]["price_per_gb_month"]["net"] = price
    api.answers["/v1/pricing"] = [(200, body, {})]
    before = catalogue.read_bytes()
    with pytest.raises(RungwayError, match=r"^hetzner: the API's answer has another form than expected \(InvalidOperation: "):
        refresh("hetzner", catalogue, api)
    assert catalogue.read_bytes() == before


def test_an_api_without_prices_is_an_error(api: Api, catalogue: Path) -> None:
    api.answers["/v2/sizes"] = [(200, sizes(), {})]
    with pytest.raises(RungwayError, match=r"^digitalocean: the API's answer names no prices$"):
        refresh("digitalocean", catalogue, api)


def test_nobody_listening_is_an_error(api: Api, catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLOUD_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(RungwayError) as caught:
        refresh("hetzner", catalogue, api)
    assert str(caught.value) == "Hetzner API: http://127.0.0.1:1/pricing: can't connect, 4 times over"
    assert api.waits == [1.0, 2.0, 4.0]


# The token


def test_the_token_can_come_from_a_file(api: Api, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HCLOUD_TOKEN")
    token_file = tmp_path / "token"
    token_file.write_text("from-a-file\n")
    hetzner(api)
    refresh("hetzner", catalogue, api, token_file)
    assert api.requests[0][1] == "Bearer from-a-file"


def test_without_a_token_nothing_is_asked(api: Api, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HCLOUD_TOKEN")
    with pytest.raises(RungwayError) as caught:
        refresh("hetzner", catalogue, api)
    assert str(caught.value) == "HCLOUD_TOKEN: found no token"
    assert caught.value.hint == "put a read-only Hetzner token in HCLOUD_TOKEN, or name a --token-file"
    with pytest.raises(RungwayError) as caught:
        refresh("hetzner", catalogue, api, tmp_path / "missing")
    assert str(caught.value) == f"{tmp_path / 'missing'}: can't read the token: No such file or directory"
    (tmp_path / "two").write_text("one\ntwo\n")
    with pytest.raises(RungwayError, match="found something that is no token") as caught:
        refresh("hetzner", catalogue, api, tmp_path / "two")
    assert "one" not in str(caught.value)
    assert api.requests == []


@pytest.mark.parametrize("address", ["http://api.example.com/v1", "http://10.0.0.1/v1", "ftp://127.0.0.1", "api.hetzner.cloud"])
def test_the_token_never_travels_unencrypted(api: Api, catalogue: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HCLOUD_ENDPOINT", address)
    with pytest.raises(RungwayError) as caught:
        refresh("hetzner", catalogue, api)
    assert str(caught.value) == (
        f"HCLOUD_ENDPOINT: found '{address}'; allowed: an https address, or http on this machine's loopback interface"
    )


def test_a_netrc_entry_does_not_displace_the_token(api: Api, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    hetzner(api)
    refresh("hetzner", catalogue, api)
    assert api.requests[0][1] == f"Bearer {TOKEN}"


# The file


def test_a_catalogue_that_cannot_be_read_is_an_error_before_anything_is_asked(api: Api, catalogue: Path) -> None:
    with pytest.raises(RungwayError, match=r"missing.yaml: can't read the catalogue: No such file or directory$"):
        refresh("hetzner", catalogue.with_name("missing.yaml"), api)
    catalogue.write_text("prices: [{provider: hetzner}]")
    with pytest.raises(RungwayError, match=r"prices.yaml: prices\[0\]: price: found nothing; every row needs it$"):
        refresh("hetzner", catalogue, api)
    assert api.requests == []


def test_the_file_keeps_its_mode(api: Api, catalogue: Path) -> None:
    catalogue.chmod(0o640)
    hetzner(api)
    refresh("hetzner", catalogue, api)
    assert catalogue.stat().st_mode & 0o777 == 0o640
