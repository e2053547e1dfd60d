"""The site's log: a filter and a format; `logging.json` beside it configures both.

Neither needs Django: `uvicorn --log-config agentsite/logging.json` reads both before
the application, so that all records of all its processes have one format.
"""

import logging

#: Control characters, with which a text of a client could change a terminal.
CONTROLS = {
    code: f"\\x{code:02x}"
    for code in (*range(0x20), *range(0x7F, 0xA0))
    if chr(code) not in "\t\n"
}
#: The paths of probes, which arrive every few seconds.
METRICS = "/metrics"
PROBES = ("/health", "/ready", METRICS)


class SiteFilter(logging.Filter):
    """A filter that drops requests of probes, and uvicorn's second, coloured message.

    The app logs when the readiness changes. A refused request to the metrics is kept:
    someone may be looking for the token.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return false for the record of a probe."""
        vars(record).pop("color_message", None)
        path = _path(record)
        is_refused = path.endswith(METRICS) and _status(record) >= 400
        return is_refused or not path.endswith(PROBES)


class ReadableFormatter(logging.Formatter):
    """A format for a terminal, in which no text can look like a record of its own.

    Only records begin at the left margin.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Escape control characters, and indent all lines after the first."""
        text = super().format(record).translate(CONTROLS)
        return text.replace("\n", "\n    ")


def _path(record: logging.LogRecord) -> str:
    """Return the path of the request that a record is about; empty if of none."""
    if record.name == "uvicorn.access" and isinstance(record.args, tuple):
        return str(record.args[2]).partition("?")[0]
    if record.name == "django.request":
        return str(getattr(getattr(record, "request", None), "path_info", ""))
    return ""


def _status(record: logging.LogRecord) -> int:
    """Return the status of the response that a record is about; 0 if of none."""
    if record.name == "uvicorn.access" and isinstance(record.args, tuple):
        return int(str(record.args[4]))
    return int(getattr(record, "status_code", 0))
