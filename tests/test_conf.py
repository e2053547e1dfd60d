"""The app's settings: the dictionary STREAMING, the environment, and their defaults."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from agentsite.options import SiteOptions
from streaming import conf
from streaming.app_options import AgentConf
from streaming.providers.anthropic.options import AnthropicOptions
from streaming.providers.demo.options import DemoOptions
from streaming.providers.openai.options import OpenAIOptions
from tests.shop import ShopOptions

ROOT = Path(__file__).resolve().parent.parent
SHOP = "tests.shop.ShopProvider"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("ANTHROPIC", "OPENAI", "SHOP"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
        monkeypatch.delenv(f"{name}_BASE_URL", raising=False)
    yield


def test_without_settings_the_defaults_apply() -> None:
    agent, provider = conf.load({})
    assert agent == AgentConf()
    assert agent.run_lease_seconds == 15.0
    assert provider == DemoOptions(llm_provider="demo")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("RUN_MAX_PER_ORGS", "RUN_MAX_PER_ORG"),
        ("run_lease_seconds", "RUN_LEASE_SECONDS"),
        ("OPENAI_KEY", "OPENAI_API_KEY"),
        ("LLM_PROVIDER", "MODEL"),
        ("LLM_MODEL", "MODEL"),
        ("LLM_RETRIES", "LLM_MAX_RETRIES"),
    ],
)
def test_an_unknown_key_is_named_with_the_closest_one(key: str, nearest: str) -> None:
    with pytest.raises(ImproperlyConfigured) as failure:
        conf.load({key: 1})
    sentence = f"STREAMING has the unknown key {key!r}: did you mean {nearest!r}?"
    assert str(failure.value) == sentence


def test_an_invalid_value_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ImproperlyConfigured, match="^RUN_MAX_PER_ORG='1': expected a"):
        conf.load({"RUN_MAX_PER_ORG": "1"})


@pytest.mark.parametrize(
    "url", ["http://:hidden@host", "hidden", "redis://:hidden@host:port"]
)
def test_an_invalid_url_of_redis_is_not_shown(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as failure:
        conf.load({"REDIS_URL": url})
    assert str(failure.value).startswith("REDIS_URL=***: expected a URL such as")
    assert "hidden" not in repr(failure.value)


def test_redis_is_an_optional_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio.connection", None)
    conf.load({})
    with pytest.raises(ImproperlyConfigured, match="install the extra `redis`"):
        conf.load({"REDIS_URL": "redis://host"})


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("openai:gpt-6-luna", "openai", "gpt-6-luna"),
        ("openai:qwen3:8b", "openai", "qwen3:8b"),
        ("openai", "openai", ""),
        ("openai:", "openai", ""),
        ("demo", "demo", ""),
        (":demo-2", "demo", "demo-2"),
        (f"{SHOP}:large", SHOP, "large"),
    ],
)
def test_the_model_is_given_with_its_provider(
    model: str, provider: str, name: str
) -> None:
    keys = {"OPENAI_API_KEY": "k"} if provider == "openai" else {}
    keys |= {"SHOP_API_KEY": "k"} if provider == SHOP else {}
    _, options = conf.load({"MODEL": model, **keys})
    assert (options.llm_provider, options.llm_model) == (provider, name)


@pytest.mark.parametrize(
    ("keys", "provider"),
    [
        ({"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o"}, "anthropic"),
        ({"OPENAI_API_KEY": "o"}, "openai"),
        ({}, "demo"),
    ],
)
@pytest.mark.parametrize("place", ["dictionary", "environment"])
def test_without_a_model_the_key_that_is_set_selects_the_provider(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], provider: str, place: str
) -> None:
    if place == "environment":
        for name, key in keys.items():
            monkeypatch.setenv(name, key)
        keys = {}
    assert conf.load(keys)[1].llm_provider == provider


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_a_provider_without_its_key_is_an_error(provider: str) -> None:
    name = f"{provider.upper()}_API_KEY"
    with pytest.raises(ImproperlyConfigured, match=f"^{name} is not set"):
        conf.load({"MODEL": provider})
    with pytest.raises(ImproperlyConfigured, match=f"^{name} is not set"):
        conf.from_environment({"LLM_PROVIDER": provider})


def test_keys_and_base_urls_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", " sk-env ")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://localhost:1")
    monkeypatch.setenv("RUN_MAX_PER_ORG", "7")
    agent, options = conf.load({"MODEL": "anthropic:claude-sonnet-5-5"})
    assert options == AnthropicOptions(
        llm_provider="anthropic",
        llm_model="claude-sonnet-5-5",
        anthropic_api_key="sk-env",
        anthropic_base_url="http://localhost:1",
    )
    assert agent.run_max_per_org == 0


def test_the_dictionary_has_precedence_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    _, options = conf.load({"MODEL": "openai", "OPENAI_API_KEY": "sk-code"})
    assert isinstance(options, OpenAIOptions)
    assert options.openai_api_key == "sk-code"


def test_the_environment_becomes_the_dictionary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    variables = {
        "LLM_PROVIDER": "openai",
        "LLM_MODEL": "gpt-6-luna",
        "LLM_MAX_RETRIES": "0",
        "OPENAI_API_KEY": "sk-env",
        "OPENAI_BASE_URL": "http://localhost:1",
        "OPENAI_API": "chat",
        "DEMO_DELAY_MS": "0.5",
        "RUN_LEASE_SECONDS": "3",
        "AGENT_NAME": "",
        "MODEL": "of another program",
        "PORT": "9000",
    }
    assert conf.from_environment(variables) == {
        "MODEL": "openai:gpt-6-luna",
        "LLM_MAX_RETRIES": 0,
        "OPENAI_API": "chat",
        "DEMO_DELAY_MS": 0.5,
        "RUN_LEASE_SECONDS": 3.0,
    }
    assert conf.from_environment({}) == {}


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"LLM_PROVIDER": "gemini"}, "LLM_PROVIDER='gemini': expected one of 'anthrop"),
        ({"LLM_THINKING": "hard"}, "LLM_THINKING='hard': expected auto, off, low,"),
        ({"OPENAI_API": "v1"}, "OPENAI_API='v1': expected one of 'responses', 'chat'."),
        ({"RUN_LEASE_SECONDS": "0"}, "RUN_LEASE_SECONDS='0': expected a number of sec"),
    ],
)
def test_an_invalid_variable_is_named(variables: dict[str, str], sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as failure:
        conf.from_environment(variables)
    assert str(failure.value).startswith(sentence)


def test_a_provider_of_another_package_has_settings_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOP_API_KEY", "sk-shop")
    given = conf.from_environment({"LLM_PROVIDER": SHOP, "SHOP_REGION": "us"})
    assert given == {"MODEL": SHOP, "SHOP_REGION": "us"}
    expected = ShopOptions(llm_provider=SHOP, shop_api_key="sk-shop", shop_region="us")
    assert conf.load(given)[1] == expected
    with pytest.raises(ImproperlyConfigured, match="unknown key 'SHOP_REGION'"):
        conf.load({"MODEL": "demo", "SHOP_REGION": "us"})


def test_a_group_of_the_site_is_read_in_the_same_way() -> None:
    site = conf.read(SiteOptions, {"PORT": "9000", "ALLOWED_HOSTS": "a,b"})
    assert (site.port, site.allowed_hosts, site.debug) == (9000, ("a", "b"), False)
    with pytest.raises(ImproperlyConfigured, match="^PORT='many': expected a whole"):
        conf.read(SiteOptions, {"PORT": "many"})


def test_settings_can_be_overridden() -> None:
    before = conf.get()
    changes: dict[str, Any] = {"RUN_LEASE_SECONDS": 3, "LLM_MAX_RETRIES": 9}
    with override_settings(STREAMING={**settings.STREAMING, **changes}):
        assert conf.get().run_lease_seconds == 3.0
        assert conf.provider().llm_max_retries == 9
        assert conf.get() is conf.get()
    assert conf.get() == before
    assert conf.provider().llm_max_retries == 2


HOST = """
from django.conf import settings
import streaming.conf
from django.core.signals import setting_changed
receivers = list(setting_changed.receivers)
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "streaming"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    STREAMING=STREAMING,
)
assert setting_changed.receivers == receivers
import django
django.setup()
print(streaming.conf.provider().llm_provider)
"""


def in_a_host_project(streaming: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HOST.replace("STREAMING=STREAMING", f"{streaming}")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("line", "provider"),
    [("DEBUG=True", "demo"), ("STREAMING={'MODEL': 'demo:x'}", "demo")],
)
def test_a_host_project_needs_no_other_setting(line: str, provider: str) -> None:
    ended = in_a_host_project(line)
    assert (ended.stdout.strip(), ended.stderr) == (provider, "")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("RUN_LEASE", 1, "unknown key 'RUN_LEASE': did you mean 'RUN_LEASE_SECONDS'?"),
        ("AUTHENTICATION", "token", "AUTHENTICATION='token': expected a dotted path"),
        (
            "AUTHENTICATION",
            ["streaming.auth.sesion"],
            "AUTHENTICATION='streaming.auth.sesion': expected a dotted path (Module "
            '"streaming.auth" does not define a "sesion" attribute/class). Did you '
            "mean streaming.auth.session?",
        ),
        ("ORGANIZATION", "shop.of", "ORGANIZATION='shop.of': expected a dotted path"),
        ("SHARE", "all", "SHARE='all': expected one of 'user', 'organization'."),
        ("RUN_EXECUTOR", "celery", "'streaming.runs.executors.celery.executor': expe"),
    ],
)
def test_a_mistake_in_a_host_project_stops_the_start(
    key: str, value: object, sentence: str
) -> None:
    ended = in_a_host_project(f"STREAMING={ {key: value}!r}")
    assert ended.returncode == 1
    assert sentence in ended.stderr
