"""The prices of models, and the cost and the highest cost of a call."""

from decimal import Decimal

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from streaming import conf
from streaming.budgets.accounts import Use
from streaming.budgets.meter import ModelPrices, price_of
from streaming.prices import (
    InvalidPrice,
    Price,
    Rates,
    dollars,
    find_price,
    parse_prices,
)
from streaming.providers.base import ModelSelected, TokenUsage
from tests.conftest import ChangeSettings

TIERED = Price(
    Rates(Decimal(3), Decimal(15), Decimal("0.3"), Decimal("3.75")),
    [(1000, Rates(Decimal(6), Decimal("22.5"), Decimal("0.6"), Decimal("7.5")))],
)


def test_cached_tokens_have_their_own_price() -> None:
    usage = TokenUsage(900, 100, 0, cache_read_tokens=500, cache_write_tokens=200)
    expected = 200 * 3 + 500 * 0.3 + 200 * 3.75 + 100 * 15  # millionths of a dollar
    assert TIERED.cost(usage) == expected * 1000


def test_a_long_input_costs_more_for_all_tokens() -> None:
    assert TIERED.cost(TokenUsage(1000, 10)) == (1000 * 3 + 10 * 15) * 1000
    assert TIERED.cost(TokenUsage(1001, 10)) == 1001 * 6000 + 10 * 22_500


def test_more_cached_than_sent_tokens_cost_no_negative_amount() -> None:
    assert TIERED.cost(TokenUsage(10, 0, 0, 1000)) == 1000 * 300


COUNT = st.integers(0, 2000)


@given(COUNT, COUNT, COUNT, COUNT)
def test_no_call_within_its_tokens_costs_more_than_the_bound(
    sent: int, received: int, read: int, written: int
) -> None:
    read = min(read, sent)
    written = min(written, sent - read)
    cost = TIERED.cost(TokenUsage(sent, received, 0, read, written))
    assert 0 <= cost <= TIERED.bound(sent, received)


def test_a_cost_is_rounded_up() -> None:
    tiny = Price(Rates(*[Decimal("0.0001")] * 4))
    assert tiny.cost(TokenUsage(1, 0)) == 1
    assert dollars(1) == Decimal("0.00000001")
    assert dollars(1_234_567_890) == Decimal("1.23456789")


def test_known_models_have_prices_at_their_vendors_only() -> None:
    known = find_price("anthropic", "claude-sonnet-4-5")
    assert known and known.rates.output > known.rates.input > known.rates.cache_read
    assert known.tiers
    assert find_price("openai", "gpt-5", "https://api.openai.com/v1/")
    assert find_price("openai", "gpt-5", "http://127.0.0.1:8000/v1") is None
    assert find_price("demo", "demo") is None
    assert find_price("openai", "") is None


def test_own_prices() -> None:
    prices = parse_prices(("a/b:c=1.25/10", "d=1/2/0.1/1.5"))
    assert prices["a/b:c"].cost(TokenUsage(4, 1)) == 4 * 1250 + 10_000
    assert prices["d"].rates.cache_write == Decimal("1.5")


@pytest.mark.parametrize(
    "entry", ["", "m", "m=", "=1/2", "m=1", "m=1/2/3/4/5", "m=a/b", "m=-1/2", "m=NaN/1"]
)
def test_a_bad_price_stops_the_start(entry: str) -> None:
    with pytest.raises(InvalidPrice):
        parse_prices((entry,))
    with pytest.raises(ImproperlyConfigured, match="MODEL_PRICES"):
        conf.load({"MODEL": "demo", "MODEL_PRICES": [entry]})


class Model:
    """The part of a provider that has a price."""

    name = "openai"
    model = "gpt-5"
    origin = "https://api.openai.com/v1/ chat gpt-5"


def test_own_prices_precede_known_ones(agent_settings: ChangeSettings) -> None:
    known = price_of(Model())  # type: ignore[arg-type]  # it calls no model
    agent_settings(model_prices=["gpt-5=1/1"])
    own = price_of(Model())  # type: ignore[arg-type]  # it calls no model
    assert known and own and known != own
    assert own.cost(TokenUsage(1, 1)) == 2000


class Models:
    """The part of a provider with a fallback that has prices."""

    name = "openai"
    model = "first"

    def __init__(self, *names: str) -> None:
        self.models = [_named(name) for name in names]


def _named(name: str) -> Model:
    model = Model()
    model.model = name
    return model


def test_each_model_has_its_price(agent_settings: ChangeSettings) -> None:
    agent_settings(model_prices=["first=1/10", "second=2/5"])
    prices = ModelPrices(Models("first", "second"))  # type: ignore[arg-type]
    assert prices.unpriced is None
    of_second = prices.of(ModelSelected("openai", "second", ""))
    assert of_second and of_second.cost(TokenUsage(1, 1)) == 7000
    of_first = prices.of(None)
    assert of_first and of_first.cost(TokenUsage(1, 1)) == 11_000


def test_a_reservation_has_the_input_of_each_model_and_one_output(
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(model_prices=["first=1/10", "second=2/5"])
    prices = ModelPrices(Models("first", "second"))  # type: ignore[arg-type]
    assert prices.bound(100, 10) == Use(210, 100 * 1000 + 100 * 2000 + 10 * 10_000)
    single = ModelPrices(_named("first"))  # type: ignore[arg-type]
    assert single.bound(100, 10) == Use(110, 100 * 1000 + 10 * 10_000)


def test_a_cost_limit_requires_the_price_of_each_model(
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(model_prices=["first=1/10"])
    prices = ModelPrices(Models("first", "second"))  # type: ignore[arg-type]
    assert prices.unpriced == "second"
