"""The meter of one run: its cost, and what it reserves in its caller's accounts."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec
from msgspec import structs

from streaming import conf
from streaming.agent.progress import BudgetReached
from streaming.budgets import accounts
from streaming.budgets.accounts import Budget, Use
from streaming.budgets.limits import CallerLimit
from streaming.exceptions import Forbidden
from streaming.prices import FREE, MAX_COST, Price, find_price, parse_prices
from streaming.providers.base import (
    ModelRequest,
    ModelSelected,
    Provider,
    TokenUsage,
)
from streaming.storage.database import Database

_encode = msgspec.json.Encoder(enc_hook=str).encode


def price_of(provider: Provider) -> Price | None:
    """Return the price of a provider's model, or None if it is unknown."""
    if getattr(provider, "is_free", False):
        return FREE
    if own := parse_prices(conf.get().model_prices).get(provider.model):
        return own
    url = getattr(provider, "origin", "").partition(" ")[0]
    return find_price(provider.name, provider.model, url)


class ModelPrices:
    """The prices of the models of a provider: one, or several with fallbacks."""

    def __init__(self, provider: Provider) -> None:
        models: Sequence[Provider] = getattr(provider, "models", (provider,))
        self._prices = {(model.name, model.model): price_of(model) for model in models}

    @property
    def unpriced(self) -> str | None:
        """The first model whose price is unknown."""
        unknown = (name for (_, name), price in self._prices.items() if price is None)
        return next(unknown, None)

    def of(self, model: ModelSelected | None) -> Price | None:
        """Return the price of a model, or of the first one; None if it is unknown."""
        if model is None:
            return next(iter(self._prices.values()))
        return self._prices.get((model.provider, model.model))

    def bound(self, sent: int, received: int) -> Use:
        """Return the highest use of a call with at most so many tokens.

        Each model may count the input before it fails; one of them gives the output.
        """
        prices = list(self._prices.values())
        inputs = [price.bound(sent, 0) if price else 0 for price in prices]
        outputs = [
            price.bound(sent, received) - cost if price else 0
            for price, cost in zip(prices, inputs, strict=True)
        ]
        return Use(sent * len(prices) + received, sum(inputs) + max(outputs))


def check_price(limits: Sequence[CallerLimit], prices: ModelPrices) -> None:
    """Raise `Forbidden` if a limit of cost applies to a model of unknown price."""
    unpriced = prices.unpriced
    if unpriced is None:
        return
    for limit in limits:
        if limit.amounts.has_cost:
            raise Forbidden(
                f"A cost limit of {limit.subject} applies, and the price of the model "
                f"{unpriced!r} is unknown: set it in MODEL_PRICES."
            )


class RunMeter:
    """Adds up the cost of a run; with limits, reserves the use of each model call.

    The use of a call is settled by the next reservation or the end of the run, in the
    transaction of each. `check_owned` is called in each reservation's: it raises if the
    run has another owner. `cost` is that of earlier attempts, None if it is unknown.
    """

    def __init__(
        self,
        run_id: str,
        find_limits: Callable[[], Awaitable[Sequence[CallerLimit]]],
        prices: ModelPrices,
        max_output_tokens: int,
        database: Database,
        *,
        check_owned: Callable[[], None] = lambda: None,
        cost: int | None = 0,
    ) -> None:
        #: The limits of the caller, found before the first model call.
        self._limits: Sequence[CallerLimit] = ()
        self._find_limits = find_limits
        self._run_id = run_id
        self._prices = prices
        #: The prices of the models that were called.
        self._used: list[Price | None] = [None] if cost is None else []
        self._max_output_tokens = max_output_tokens
        self._database = database
        self._calls = 0
        #: The highest number of input tokens of the reserved call; None: there is none,
        #: or its use is counted.
        self._most_input: int | None = None
        self._total = cost or 0
        self._check_owned = check_owned
        #: The use since the last reservation.
        self._spent = Use()

    @property
    def cost(self) -> int | None:
        """The cost in billionths of a US dollar; None: the price is unknown."""
        used = self._used or [self._prices.of(None)]
        return None if None in used else self._total

    def add(self, usage: TokenUsage, model: ModelSelected | None) -> None:
        """Count the use of a model call; `model` is None without fallbacks."""
        self._most_input = None
        price = self._prices.of(model)
        self._used.append(price)
        cost = price.cost(usage) if price else 0
        self._total = min(self._total + cost, MAX_COST)
        self._spent += Use(usage.input_tokens + usage.output_tokens, cost)

    def add_cut(
        self, usage: TokenUsage, model: ModelSelected | None, *, input_counted: bool
    ) -> None:
        """Count the estimated use of a call that was cut off, and charge its highest.

        Otherwise a caller could cancel again and again before the provider counts.
        """
        spent, sent = self._spent, self._most_input
        self.add(usage, model)
        if sent is None:  # another call has taken the place of this one
            self._spent = spent
            return
        price = self._prices.of(model)
        received = max(usage.output_tokens, self._max_output_tokens)
        if input_counted:
            sent = usage.input_tokens
            most = structs.replace(usage, output_tokens=received)
            cost = price.cost(most) if price else 0
        else:
            cost = price.bound(sent, received) if price else 0
        self._spent = spent + Use(sent + received, cost)

    def add_lost(self, usage: TokenUsage) -> None:
        """Count the use of a call that died with its process, and was charged then."""
        spent = self._spent
        self.add(usage, None)
        self._spent = spent

    def settle(self) -> None:
        """Charge the use of the reserved call, in the transaction of the run's end."""
        if self._limits:
            accounts.settle(self._run_id, self._spent)

    async def reserve(self, request: ModelRequest) -> None:
        """Reserve the highest use of a model call. Raises `BudgetReached`, `Forbidden`.

        A token has at least one byte: the bytes of the request bound its tokens.
        """
        if not self._calls:
            self._limits = await self._find_limits()
            # A queued run was inserted without its model, or before a limit of cost.
            check_price(self._limits, self._prices)
        self._calls += 1
        if not self._limits:
            return
        tools = [*request.tools, *filter(None, [request.output])]
        sent = len(_encode((request.system, request.messages, tools)))
        need = self._prices.bound(sent, self._max_output_tokens)
        spent = self._spent
        reserve = partial(
            self._database.execute_write,
            self._reserve_owned,
            self._calls,
            self._limits,
            need,
            spent,
        )
        if budget := await self._database.retry_while_unavailable(reserve):
            raise BudgetReached(budget.limit)
        self._spent, self._most_input = Use(), sent

    def _reserve_owned(
        self, call: int, limits: Sequence[CallerLimit], need: Use, spent: Use
    ) -> Budget | None:
        self._check_owned()
        return accounts.reserve(self._run_id, call, limits, need, spent)
