"""The writer of docs/configuration.md, which is made from the declarations.

`make docs` writes it; a test compares it with the declarations.
"""

from collections.abc import Sequence
from pathlib import Path

from agentsite.options import SiteOptions
from streaming.app_options import AgentConf
from streaming.options import Declaration, Options, declarations
from streaming.providers.base import ProviderOptions
from streaming.providers.registry import PROVIDERS
from streaming.telemetry_options import TelemetryOptions

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

#: Each table: its title, its group, and the group whose settings it does not repeat.
TABLES: Sequence[tuple[str, type[Options], type[Options]]] = (
    ("The model", ProviderOptions, Options),
    *(
        (f"The provider `{name}`", registration.options, ProviderOptions)
        for name, registration in PROVIDERS.items()
    ),
    ("The agent, its runs and its streams", AgentConf, TelemetryOptions),
    ("Metrics and traces", TelemetryOptions, Options),
    ("The site", SiteOptions, Options),
)

INTRODUCTION = """\
# Configuration

<!-- Made by `make docs` from the declarations of the settings. -->

The site (`agentsite`) reads these environment variables. An invalid value stops the
start with a sentence that names the variable. An empty variable counts as not set;
unknown ones are ignored.

A host project gives the same names as keys of one Django setting. The last table
belongs to the site alone: a host project has Django's own settings for these.

```python
STREAMING = {"MODEL": "anthropic:claude-sonnet-5-5", "RUN_MAX_PER_ORG": 10}
```

- `MODEL` stands for `LLM_PROVIDER` and `LLM_MODEL`: `provider:model`, or the provider
  alone for its default model. The environment has the two variables and no `MODEL`.
- Values have the type of the setting: `10`, not `"10"`.
- API keys and base URLs may be left out: the app then reads them from the environment.
  It reads no other variable itself.
- A provider without its key stops the start. A test suite or a build step without a key
  has `"MODEL": "demo"`.
- An unknown key stops the start with a sentence that names the closest known one.
- Tests change settings with
  `override_settings(STREAMING={**settings.STREAMING, "RUN_MAX_PER_ORG": 1})`.

A provider of another package is named by the dotted path of its class, as in
`LLM_PROVIDER=shop.llm.ShopProvider` or `"MODEL": "shop.llm.ShopProvider:large"`. The
class implements `streaming.providers.base.Provider` and is called with its options.
Settings of its own are declared in a subclass of `ProviderOptions`, which it names:

```python
class ShopOptions(ProviderOptions, frozen=True):
    shop_api_key: Annotated[
        str, Setting("API key.", secret=True, required=True, from_environment=True)
    ] = ""
    shop_region: Annotated[str, Setting("Region of the shop's servers.")] = "eu"


class ShopProvider:
    options_type = ShopOptions
```

The site imports such a class while it reads its settings: its module must not need
Django's settings or models.
"""


def render() -> str:
    """Return the page."""
    tables = (_table(*table) for table in TABLES)
    return "\n".join([INTRODUCTION, *tables])


def _table(title: str, group: type[Options], base: type[Options]) -> str:
    """Return the table of a group without the settings of `base`."""
    lines = [
        f"## {title}\n",
        "| name | value | default | meaning |",
        "|---|---|---|---|",
    ]
    inherited = declarations(base)
    for declared in declarations(group):
        if declared not in inherited:
            cells = f"`{declared.name}` | {declared.expected} | {_default(declared)}"
            lines.append(f"| {cells} | {declared.setting.help} |")
    return "\n".join([*lines, ""])


def _default(declared: Declaration) -> str:
    match declared.default:
        case _ if declared.setting.default:
            return declared.setting.default
        case bool(value):
            return str(value).lower()
        case int(value) | float(value):
            return f"{value:.15g}"
        case tuple(values):
            return ", ".join(f"`{value}`" for value in values)
        case value:
            return str(value)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render())
