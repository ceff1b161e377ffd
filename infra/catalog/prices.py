"""The price catalogue, prices.yaml, as typed rows. The file says what its fields mean."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

# Not ruamel.yaml, which takes half a second for this file: every plan waits for it.
import yaml

PRICES_FILE = Path(__file__).with_name("prices.yaml")


class PriceCatalogueError(ValueError):
    """A row of the catalogue that can't be used. The text starts with the file and the row."""


@dataclass(frozen=True)
class Source:
    """Where a figure comes from."""

    url: str
    note: str


@dataclass(frozen=True)
class Price:
    """One row. `amount` is in `currency` a `unit`, or None when nobody could be quoted for it.

    `included` units cost nothing each month, for the whole account. `low_confidence` marks a figure that was not read from the vendor.
    """

    provider: str
    item: str
    name: str
    location: str
    amount: Decimal | None
    unit: str
    currency: str
    as_of: date
    source: Source
    included: Decimal
    traffic_tb: Decimal | None
    low_confidence: bool

    @property
    def label(self) -> str:
        """What the row prices, as people read it: `hetzner server cx33 in eu`."""
        return " ".join(part for part in (self.provider, self.item, self.name, self.location and f"in {self.location}") if part)


@dataclass(frozen=True)
class ExchangeRate:
    """One unit of `base` is `rate` units of `quote`."""

    base: str
    quote: str
    rate: Decimal
    as_of: date
    source: Source


class Prices:
    """The catalogue: prices by what they are for, and exchange rates."""

    def __init__(
        self, rows: Sequence[Price], rates: Sequence[ExchangeRate], location_groups: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> None:
        self.rows = tuple(rows)
        self.exchange_rates = tuple(rates)
        self.location_groups = location_groups
        self._by_key = {(row.provider, row.item, row.name, row.location): row for row in rows}
        self._group = {
            (provider, location): group
            for provider, groups in location_groups.items()
            for group, locations in groups.items()
            for location in locations
        }

    def find(self, provider: str, item: str, name: str = "", location: str = "") -> Price | None:
        """The row for this, the nearest first: its location's own, its group of locations', the one that holds everywhere."""
        places = [location, self._group.get((provider, location), location), ""]
        for place in places:
            row = self._by_key.get((provider, item, name, place))
            if row is not None:
                return row
        return None

    def convert(self, amount: Decimal, currency: str, wanted: str) -> Decimal | None:
        """`amount` of `currency` in the currency `wanted`, or None when no exchange rate is known. Not rounded."""
        if currency == wanted:
            return amount
        for rate in self.exchange_rates:
            if (rate.base, rate.quote) == (currency, wanted):
                return amount * rate.rate
            if (rate.base, rate.quote) == (wanted, currency):
                return amount / rate.rate
        return None


@functools.cache
def load_prices(path: Path = PRICES_FILE) -> Prices:
    """The catalogue in `path`.

    Raises:
        PriceCatalogueError: a row lacks a field, names no known source, or repeats another.
    """
    return parse_prices(path.read_text(encoding="utf-8"), path.name)


def parse_prices(text: str, name: str) -> Prices:
    """The catalogue written in `text`; `name` is what errors call it.

    Raises:
        PriceCatalogueError: as `load_prices`, and text that is no YAML.
    """
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 (a safe loader that reads decimals exactly)
    except yaml.YAMLError as error:
        raise PriceCatalogueError(f"{name}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise PriceCatalogueError(f"{name}: found no catalogue; allowed: a mapping with sources, exchange_rates and prices")
    sources = {key: Source(entry["url"], entry["note"]) for key, entry in document.get("sources", {}).items()}
    rows = [_price(row, sources, f"{name}: prices[{index}]") for index, row in enumerate(document.get("prices", []))]
    seen: set[tuple[str, str, str, str]] = set()
    for row in rows:
        key = (row.provider, row.item, row.name, row.location)
        if key in seen:
            raise PriceCatalogueError(f"{name}: prices: {row.label}: two rows price this; keep one")
        seen.add(key)
    rates = [_rate(row, sources, f"{name}: exchange_rates[{index}]") for index, row in enumerate(document.get("exchange_rates", []))]
    return Prices(rows, rates, document.get("location_groups", {}))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, ten times as fast where PyYAML was built with libyaml. Fractions are read as exact decimals."""


_Loader.add_constructor("tag:yaml.org,2002:float", lambda _loader, node: Decimal(node.value))


def _price(row: Any, sources: Mapping[str, Source], path: str) -> Price:
    amount = _field(row, "price", path)
    if amount != "unknown" and (isinstance(amount, bool) or not isinstance(amount, int | Decimal) or amount < 0):
        raise PriceCatalogueError(f"{path}: price: found {amount!r}; allowed: a number from 0, or unknown")
    return Price(
        provider=_field(row, "provider", path),
        item=_field(row, "item", path),
        name=row.get("name", ""),
        location=row.get("location", ""),
        amount=None if amount == "unknown" else Decimal(amount),
        unit=_field(row, "unit", path),
        currency=_field(row, "currency", path),
        as_of=_date(row, path),
        source=_source(row, sources, path),
        included=Decimal(row.get("included", 0)),
        traffic_tb=None if row.get("traffic_tb") is None else Decimal(row["traffic_tb"]),
        low_confidence=row.get("confidence") == "low",
    )


def _rate(row: Any, sources: Mapping[str, Source], path: str) -> ExchangeRate:
    return ExchangeRate(
        base=_field(row, "from", path),
        quote=_field(row, "to", path),
        rate=Decimal(_field(row, "rate", path)),
        as_of=_date(row, path),
        source=_source(row, sources, path),
    )


def _field(row: Any, name: str, path: str) -> Any:
    if not isinstance(row, dict) or row.get(name) is None:
        raise PriceCatalogueError(f"{path}: {name}: found nothing; every row needs it")
    return row[name]


def _date(row: Any, path: str) -> date:
    found = _field(row, "as_of", path)
    if not isinstance(found, date):
        raise PriceCatalogueError(f"{path}: as_of: found {found!r}; allowed: a date as 2026-11-21")
    return found


def _source(row: Any, sources: Mapping[str, Source], path: str) -> Source:
    name = _field(row, "source", path)
    if name not in sources:
        raise PriceCatalogueError(f"{path}: source: found {name!r}; allowed: {', '.join(sources)}")
    return sources[name]
