"""The settings of the Anthropic provider."""

from typing import Annotated, ClassVar

from streaming.options import Setting
from streaming.providers.anthropic.models import DEFAULT_MODEL
from streaming.providers.base import ProviderOptions


class AnthropicOptions(ProviderOptions, frozen=True):
    """The common options, and those of Anthropic and compatible servers."""

    default_model: ClassVar[str] = DEFAULT_MODEL

    anthropic_api_key: Annotated[
        str,
        Setting("API key.", secret=True, required=True, from_environment=True),
    ] = ""
    anthropic_base_url: Annotated[
        str,
        Setting("URL of another server.", default="Anthropic's", from_environment=True),
    ] = ""
