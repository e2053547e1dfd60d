"""The values that the app itself reads from the environment: keys and base URLs.

No other module of the app reads the environment. Settings with `from_environment` are
found where the vendors' SDKs look for them, so that a host project need not repeat
them in its Django settings.
"""

import os

from streaming.options import Options, declarations, parse


def read_environment(group: type[Options]) -> dict[str, object]:
    """Return the values of the group's settings that the app reads itself."""
    names = {d.name for d in declarations(group) if d.setting.from_environment}
    return parse(group, {name: os.environ.get(name, "") for name in names})
