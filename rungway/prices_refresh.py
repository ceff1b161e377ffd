"""Rewrites a provider's rows of the catalogue from its own API: `rungway prices refresh`.

Hetzner: GET /v1/pricing and /v1/server_types. DigitalOcean: GET /v2/sizes, which has the Droplets and nothing else; its other prices stay.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from infra.catalog import SIZES_FILE
from infra.catalog.prices import PRICES_FILE, PriceCatalogueError, Prices, parse_prices
from rungway.catalogue_file import one_line_row, parse_catalogue, read_catalogue, render_catalogue, write_catalogue
from rungway.errors import RungwayError
from rungway.provider_api import Client
from rungway.sizes_refresh import Size, digitalocean_sizes, hetzner_sizes, rewrite_sizes

_BYTES_A_TB = Decimal(1024**4)


@dataclass(frozen=True)
class Offer:
    """A price that an API names: `amount` in `currency` a `unit`, at one `location` or (empty) everywhere."""

    item: str
    name: str
    location: str
    amount: Decimal
    unit: str
    currency: str
    traffic_tb: Decimal | None = None


def refresh_prices(
    provider: str,
    *,
    token_file: Path | None = None,
    prices_file: Path = PRICES_FILE,
    sizes_file: Path = SIZES_FILE,
    today: date | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> str:
    """Rewrite the prices and server types of `provider` (hetzner or digitalocean) from its API, and say what changed.

    A price that the API confirms gets today's date and the API as its source. What is no longer offered gets the price unknown; what is new
    is added. Comments and every other row stay as they are. A file is replaced at once or not at all.

    Raises:
        RungwayError: no token, no usable answer, or a catalogue that can't be read or written. The files are then untouched.
    """
    today = today or datetime.now(UTC).date()
    prices_text = read_catalogue(prices_file)
    try:
        prices = parse_prices(prices_text, str(prices_file))
    except PriceCatalogueError as error:
        raise RungwayError(str(error)) from error
    prices_document = parse_catalogue(prices_text, prices_file)
    sizes_document = parse_catalogue(read_catalogue(sizes_file), sizes_file)
    client = Client(provider, token_file, wait)
    try:
        offers, sizes = (_ask_hetzner if provider == "hetzner" else _ask_digitalocean)(client, today)
    except (KeyError, TypeError, AttributeError, ValueError, InvalidOperation) as error:
        raise RungwayError(f"{provider}: the API's answer has another form than expected ({type(error).__name__}: {error})") from error
    if not offers:
        raise RungwayError(f"{provider}: the API's answer names no prices")
    lines, confirmed = _rewrite(prices_document["prices"], provider, _grouped(offers, prices, provider), today)
    size_lines = rewrite_sizes(sizes_document, provider, sizes, today)
    # Both are rendered, and the prices read again, before the first of them is written.
    prices_text, sizes_text = render_catalogue(prices_document), render_catalogue(sizes_document)
    parse_prices(prices_text, str(prices_file))
    write_catalogue(prices_file, prices_text)
    write_catalogue(sizes_file, sizes_text)
    summary = (
        f"{provider}: {confirmed} prices confirmed, {len(lines)} changed, {len(size_lines)} changes of server types, "
        f"as of {today.isoformat()}"
    )
    return "\n".join([*lines, *size_lines, summary])


def _ask_hetzner(client: Client, today: date) -> tuple[list[Offer], list[Size]]:
    offers = list(_hetzner_offers(client.get("/pricing")["pricing"]))
    pages = client.pages("/server_types", lambda answer: answer["meta"]["pagination"]["next_page"], per_page=50)
    return offers, hetzner_sizes([entry for page in pages for entry in page["server_types"]], today)


def _ask_digitalocean(client: Client, today: date) -> tuple[list[Offer], list[Size]]:  # noqa: ARG001 (both have this form)
    pages = client.pages("/v2/sizes", lambda answer: answer.get("links", {}).get("pages", {}).get("next"), per_page=200)
    sizes = [entry for page in pages for entry in page["sizes"]]
    return list(_digitalocean_offers(sizes)), digitalocean_sizes(sizes)


def _hetzner_offers(pricing: Mapping[str, Any]) -> Iterator[Offer]:
    """Net prices. https://docs.hetzner.cloud/reference/cloud#tag/pricing"""
    currency = pricing["currency"]
    for server_type in pricing["server_types"]:
        for price in server_type["prices"]:
            traffic_tb = Decimal(price["included_traffic"]) / _BYTES_A_TB
            yield Offer("server", server_type["name"], price["location"], _net(price["price_monthly"]), "month", currency, traffic_tb)
    for load_balancer_type in pricing["load_balancer_types"]:
        for price in load_balancer_type["prices"]:
            yield Offer("load-balancer", load_balancer_type["name"], price["location"], _net(price["price_monthly"]), "month", currency)
    for item, key in (("primary-ip", "primary_ips"), ("floating-ip", "floating_ips")):
        for address in pricing[key]:
            for price in address["prices"]:
                yield Offer(item, address["type"], price["location"], _net(price["price_monthly"]), "month", currency)
    yield Offer("volume", "", "", _net(pricing["volume"]["price_per_gb_month"]), "GB-month", currency)
    yield Offer("snapshot", "", "", _net(pricing["image"]["price_per_gb_month"]), "GB-month", currency)
    yield Offer("server-backup", "", "", _number(pricing["server_backup"]["percentage"]), "percent", currency)
    overage = {price["location"]: _net(price["price_per_tb_traffic"]) for kind in pricing["server_types"] for price in kind["prices"]}
    for location, amount in overage.items():
        yield Offer("traffic", "", location, amount, "TB", currency)


def _digitalocean_offers(sizes: Iterable[Mapping[str, Any]]) -> Iterator[Offer]:
    """Sizes that can be ordered. https://docs.digitalocean.com/reference/api/digitalocean/#tag/Sizes"""
    for size in sizes:
        if size["available"]:
            yield Offer("server", size["slug"], "", _number(size["price_monthly"]), "month", "USD", _number(size["transfer"]))


def _net(price: Mapping[str, Any]) -> Decimal:
    return _number(price["net"])


def _number(text: Any) -> Decimal:
    """A figure without the zeros that the APIs add (`3.9900000000000000`)."""
    number = Decimal(str(text))
    if not number.is_finite() or number < 0:
        raise InvalidOperation(f"found {text!r} for a price")
    return Decimal(format(number.normalize(), "f"))


def _grouped(offers: Sequence[Offer], prices: Prices, provider: str) -> list[Offer]:
    """`offers` by group of locations where a group agrees; without a location where all agree and the catalogue has none."""
    groups = prices.location_groups.get(provider, {})
    by_name: dict[tuple[str, str], list[Offer]] = {}
    for offer in offers:
        by_name.setdefault((offer.item, offer.name), []).append(offer)
    everywhere = {(row.item, row.name) for row in prices.rows if row.provider == provider and not row.location}
    result: list[Offer] = []
    for key, same in by_name.items():
        if key in everywhere and len({_terms(offer) for offer in same}) == 1:
            result.append(_at(same[0], ""))
            continue
        left = list(same)
        for group, locations in groups.items():
            members = [offer for offer in left if offer.location in locations]
            if members and len({_terms(offer) for offer in members}) == 1:
                result.append(_at(members[0], group))
                left = [offer for offer in left if offer not in members]
        result += left
    return result


def _terms(offer: Offer) -> tuple[Any, ...]:
    return (offer.amount, offer.unit, offer.currency, offer.traffic_tb)


def _at(offer: Offer, location: str) -> Offer:
    return Offer(offer.item, offer.name, location, offer.amount, offer.unit, offer.currency, offer.traffic_tb)


def _rewrite(rows: Any, provider: str, offers: Sequence[Offer], today: date) -> tuple[list[str], int]:
    """Bring the rows of `provider` up to date in place; return what changed, a line each, and how many rows were confirmed."""
    by_key = {(offer.item, offer.name, offer.location): offer for offer in offers}
    items = {offer.item for offer in offers}
    lines: list[str] = []
    confirmed = 0
    last = len(rows)
    for index, row in enumerate(rows):
        if row["provider"] != provider:
            continue
        last = index + 1
        offer = by_key.pop((row["item"], row.get("name", ""), row.get("location", "")), None)
        if offer is None and (row["item"] not in items or row["price"] == 0):
            # The API does not speak of this.
            continue
        before = _price_of(row)
        _set(row, offer, provider, today)
        after = _price_of(row)
        if before == after:
            confirmed += 1
        elif offer is None:
            lines.append(f"{_label(row)}: {_shown(before)} → unknown: no longer offered")
        else:
            lines.append(f"{_label(row)}: {_shown(before)} → {_shown(after)} a {row['unit']}")
    for offer in by_key.values():
        row = one_line_row()
        row.update({"provider": provider, "item": offer.item})
        row.update({key: value for key, value in (("name", offer.name), ("location", offer.location)) if value})
        row.update({"price": "unknown", "unit": offer.unit, "currency": offer.currency})
        _set(row, offer, provider, today)
        rows.insert(last, row)
        last += 1
        lines.append(f"{_label(row)}: new: {_shown(_price_of(row))} a {row['unit']}")
    return lines, confirmed


def _set(row: Any, offer: Offer | None, provider: str, today: date) -> None:
    row["price"] = "unknown" if offer is None else _plain_number(offer.amount)
    if offer is not None:
        row["currency"] = offer.currency
    row["as_of"] = today
    row["source"] = f"{provider}-api"
    for key in ("undated", "confidence"):
        row.pop(key, None)
    if offer is not None and offer.traffic_tb is not None:
        row["traffic_tb"] = _plain_number(offer.traffic_tb)


def _plain_number(number: Decimal) -> int | Decimal:
    return int(number) if number == number.to_integral_value() else number


def _price_of(row: Any) -> tuple[Decimal | None, str]:
    # By way of its text: 5.49 is meant, not the nearest binary fraction.
    return (None if row["price"] == "unknown" else Decimal(str(row["price"])), row["currency"])


def _label(row: Any) -> str:
    place = f"in {row['location']}" if row.get("location") else ""
    return " ".join(part for part in (row["provider"], row["item"], row.get("name", ""), place) if part)


def _shown(price: tuple[Decimal | None, str]) -> str:
    amount, currency = price
    return "unknown" if amount is None else f"{amount} {currency}"
