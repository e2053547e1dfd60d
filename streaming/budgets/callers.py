"""The limits of callers, cached: a change in the admin applies within seconds."""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from streaming.account_models import Limit
from streaming.budgets.limits import CallerLimit, agent_limit, amounts, limits_of
from streaming.principals import Principal
from streaming.storage.database import Database

#: Time for which limits are kept.
KEPT_SECONDS = 5.0
#: Callers whose limits are kept.
MAX_CALLERS = 10_000


class CallerLimits:
    """The limits of all callers; without any row a caller costs no query."""

    def __init__(
        self,
        database: Database,
        of_agents: Mapping[str, Mapping[str, float]] | None = None,
        *,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        self._database = database
        given = (of_agents or {}).items()
        self._of_agents = {name: amounts(each.get) for name, each in given if each}
        self._kept_seconds = kept_seconds
        self._checked_at = -kept_seconds
        self._has_rows = False
        self._kept: OrderedDict[Principal, tuple[float, Sequence[CallerLimit]]] = (
            OrderedDict()
        )

    async def of(self, principal: Principal, agent: str) -> Sequence[CallerLimit]:
        """Return the limits that apply to a run of a caller."""
        found = await self._stored(principal) if await self._any() else ()
        if given := self._of_agents.get(agent):
            return [*found, agent_limit(principal, agent, given)]
        return found

    async def _any(self) -> bool:
        if time.monotonic() - self._checked_at >= self._kept_seconds:
            self._has_rows = await self._database.execute_read(Limit.objects.exists)
            self._checked_at = time.monotonic()
        return self._has_rows

    async def _stored(self, principal: Principal) -> Sequence[CallerLimit]:
        now = time.monotonic()
        read_at, limits = self._kept.get(principal, (now - self._kept_seconds, ()))
        if now - read_at >= self._kept_seconds:
            limits = await self._database.execute_read(limits_of, principal)
            self._kept[principal] = now, limits
            self._kept.move_to_end(principal)
            if len(self._kept) > MAX_CALLERS:
                self._kept.popitem(last=False)
        return limits
