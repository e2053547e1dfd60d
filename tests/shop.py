"""A provider of another package, which tests name by its dotted path."""

from collections.abc import AsyncGenerator
from typing import Annotated

from streaming.options import Setting
from streaming.providers.base import (
    Delta,
    ModelRequest,
    ProviderOptions,
    ResponseEnd,
    TextDelta,
)


class ShopOptions(ProviderOptions, frozen=True):
    """The common options, and those of the shop."""

    shop_api_key: Annotated[
        str, Setting("API key.", secret=True, required=True, from_environment=True)
    ] = ""
    shop_region: Annotated[str, Setting("Region of the shop's servers.")] = "eu"


class ShopProvider:
    """A provider that answers with its region."""

    name = "shop"
    options_type = ShopOptions

    def __init__(self, options: ShopOptions) -> None:
        self.model = options.llm_model or "small"
        self._region = options.shop_region

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Yield the region as the response."""
        yield [TextDelta(self._region), ResponseEnd("end_turn")]

    async def aclose(self) -> None:
        """Close nothing."""
