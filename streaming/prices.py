"""The prices of models: those of the setting `MODEL_PRICES`, else of `genai-prices`.

Money is in billionths of a US dollar, rounded up.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from functools import cache

import msgspec

from streaming.providers.base import TokenUsage

#: The parts of a dollar in which money is counted.
PARTS = 10**9
#: The highest cost of a run that the database stores: 999,999.99999999 dollars.
MAX_COST = 10**15 - 10
#: A dollar for a million tokens, in parts for one token.
_PER_TOKEN = Decimal(PARTS) / 10**6
#: The parts of an entry of `MODEL_PRICES`: input and output, cache read and write.
_LEAST, _MOST = 2, 4


class InvalidPrice(ValueError):
    """An entry of `MODEL_PRICES` that is none."""


def dollars(cost: int) -> Decimal:
    """Return an amount of parts in US dollars, as exactly as the database stores it."""
    return (Decimal(cost) / PARTS).quantize(Decimal("1e-8"), ROUND_CEILING)


class Rates(msgspec.Struct, frozen=True):
    """Prices in US dollars for a million tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal

    def cost(self, usage: TokenUsage) -> int:
        """Return the cost of a model call."""
        read, write = usage.cache_read_tokens, usage.cache_write_tokens
        dollars = (
            max(usage.input_tokens - read - write, 0) * self.input
            + read * self.cache_read
            + write * self.cache_write
            + usage.output_tokens * self.output
        )
        return int((dollars * _PER_TOKEN).to_integral_value(ROUND_CEILING))


class Price(msgspec.Struct, frozen=True):
    """The price of a model; some cost more for all tokens of a long input."""

    rates: Rates
    #: The input beyond which other rates apply, ascending.
    tiers: Sequence[tuple[int, Rates]] = ()

    def cost(self, usage: TokenUsage) -> int:
        """Return the cost of a model call."""
        return self._rates(usage.input_tokens).cost(usage)

    def bound(self, input_tokens: int, output_tokens: int) -> int:
        """Return the highest cost of a call with at most so many tokens."""
        return max(
            rates.cost(TokenUsage(input_tokens, output_tokens, 0, *cached))
            for rates in (self.rates, *(rates for _, rates in self.tiers))
            for cached in ((0, 0), (input_tokens, 0), (0, input_tokens))
        )

    def _rates(self, input_tokens: int) -> Rates:
        found = self.rates
        for beyond, rates in self.tiers:
            if input_tokens > beyond:
                found = rates
        return found


#: The price of a model that no server runs, such as a scripted one.
FREE = Price(Rates(Decimal(0), Decimal(0), Decimal(0), Decimal(0)))


@cache
def parse_prices(entries: tuple[str, ...]) -> Mapping[str, Price]:
    """Return the prices of entries such as `MODEL=INPUT/OUTPUT`, by model.

    Cache reads and writes may follow, `MODEL=INPUT/OUTPUT/READ/WRITE`; without them
    cached input costs as much as other input. Raises `InvalidPrice`.
    """
    return dict(map(_entry, entries))


def _entry(entry: str) -> tuple[str, Price]:
    model, _, numbers = entry.rpartition("=")
    try:
        rates = [Decimal(number) for number in numbers.split("/")]
    except InvalidOperation:
        rates = []
    valid = all(rate.is_finite() and rate >= 0 for rate in rates)
    if not (model and valid and _LEAST <= len(rates) <= _MOST):
        raise InvalidPrice(entry)
    given, output, *cached = rates
    read, write = [*cached, given, given][:2]
    return model, Price(Rates(given, output, read, write))


@cache
def find_price(provider: str, model: str, base_url: str = "") -> Price | None:
    """Return the present price of a known model, or None.

    `base_url` tells a vendor from the other servers with its API.
    """
    # Imported at the first use: its table of models takes a tenth of a second.
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import TieredPrices

    url = base_url or None
    try:
        _, info = get_snapshot().find_provider_model(
            model, None, None if url else provider, url
        )
    except LookupError:
        return None
    values = vars(info.get_prices(datetime.now(UTC)))

    def rate(name: str, beyond: int) -> Decimal | None:
        value = values.get(name)
        if not isinstance(value, TieredPrices):
            return value
        tiers = [tier.price for tier in value.tiers if tier.start <= beyond]
        return [value.base, *tiers][-1]

    def rates(beyond: int) -> Rates | None:
        given, output = rate("input_mtok", beyond), rate("output_mtok", beyond)
        if given is None or output is None:
            return None
        read, write = (
            given if (found := rate(name, beyond)) is None else found
            for name in ("cache_read_mtok", "cache_write_mtok")
        )
        return Rates(given, output, read, write)

    starts = {
        tier.start
        for value in values.values()
        if isinstance(value, TieredPrices)
        for tier in value.tiers
    }
    least = rates(0)
    tiers = [(start, found) for start in sorted(starts) if (found := rates(start))]
    return Price(least, tiers) if least else None
