"""The programs in docs/javascript.md, which tests run as they are printed there."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "javascript.md"


def documented_programs() -> tuple[str, str, str]:
    """Return the programs with the client, EventSource and fetch-event-source."""
    programs = re.findall(r"```js\n(.*?)```", PAGE.read_text(), re.DOTALL)
    client, event_source, fetch_event_source = programs
    return client, event_source, fetch_event_source
