"""The settings of the OpenAI provider."""

from typing import Annotated, ClassVar, Literal

from streaming.options import Setting
from streaming.providers.base import ProviderOptions
from streaming.providers.openai.models import DEFAULT_MODEL


class OpenAIOptions(ProviderOptions, frozen=True):
    """The common options, and those of OpenAI and compatible servers."""

    default_model: ClassVar[str] = DEFAULT_MODEL

    openai_api_key: Annotated[
        str,
        Setting(
            "API key. A server that needs none accepts any text.",
            secret=True,
            required=True,
            from_environment=True,
        ),
    ] = ""
    openai_base_url: Annotated[
        str,
        Setting(
            "URL of another server, such as `http://localhost:11434/v1`.",
            default="OpenAI's",
            from_environment=True,
        ),
    ] = ""
    openai_api: Annotated[
        Literal["", "responses", "chat"],
        Setting(
            "API of the server: Responses or Chat Completions.",
            default="`responses` at OpenAI, else `chat`",
        ),
    ] = ""
