"""The registry: providers by name, by dotted path, and imported when first used."""

import subprocess
import sys
from pathlib import Path

import pytest

from streaming.messages import user_message
from streaming.options import build
from streaming.providers.base import (
    ModelRequest,
    ProviderOptions,
    ResponseEnd,
    TextDelta,
)
from streaming.providers.registry import (
    PROVIDERS,
    UnknownProvider,
    find_provider,
    make_provider,
)
from streaming.providers.retry import RetryingProvider
from tests.shop import ShopOptions

ROOT = Path(__file__).resolve().parent.parent.parent
SHOP = "tests.shop.ShopProvider"


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_registered_provider_has_the_name_it_is_registered_by(
    name: str,
) -> None:
    keys = {f"{name.upper()}_API_KEY": "key", "LLM_PROVIDER": name, "LLM_MODEL": "m"}
    provider = make_provider(build(PROVIDERS[name].options, keys))
    assert (provider.name, provider.model) == (name, "m")
    assert isinstance(provider, RetryingProvider) == (name != "demo")
    await provider.aclose()


@pytest.mark.parametrize("name", PROVIDERS)
def test_own_settings_of_a_provider_begin_with_its_name(name: str) -> None:
    common = ProviderOptions.__struct_fields__
    own = set(PROVIDERS[name].options.__struct_fields__) - set(common)
    assert [field for field in own if not field.startswith(f"{name}_")] == []


async def test_a_provider_of_another_package_is_loaded_by_its_dotted_path() -> None:
    assert find_provider(SHOP) == (SHOP, ShopOptions)
    options = ShopOptions(llm_provider=SHOP, llm_model="large", shop_region="us")
    provider = make_provider(options)
    assert isinstance(provider, RetryingProvider)
    assert (provider.name, provider.model) == ("shop", "large")
    request = ModelRequest(system="", messages=[user_message("Hello")])
    batches = [batch async for batch in provider.stream(request)]
    assert batches == [[TextDelta("us"), ResponseEnd("end_turn")]]


def test_settings_of_its_own_are_optional() -> None:
    path = "tests.providers.test_registry.Bare"
    assert find_provider(path).options is ProviderOptions


class Bare:
    """A class without `options_type`."""


def test_the_error_for_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownProvider) as failure:
        find_provider("gemini")
    sentence = "one of 'anthropic', 'openai', 'demo' or the dotted path of a class"
    assert str(failure.value) == sentence


@pytest.mark.parametrize(
    "path", ["nowhere.Provider", "tests.nowhere.Provider", "tests.shop.Nothing", ".x"]
)
def test_a_path_that_cannot_be_imported_is_unknown(path: str) -> None:
    with pytest.raises(UnknownProvider, match="^the dotted path of a class"):
        find_provider(path)


UNUSED = """
import sys
from streaming.providers.registry import PROVIDERS, find_provider, make_provider
for name in PROVIDERS: find_provider(name)
make_provider(PROVIDERS["demo"].options(llm_provider="demo"))
print({"anthropic", "openai", "aiohttp", "django"} & sys.modules.keys())
"""


def test_sdks_and_their_http_client_are_imported_only_when_they_are_used() -> None:
    command = [sys.executable, "-c", UNUSED]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("set()\n", "")
