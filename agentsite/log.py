"""The filter of the site's log; `logging.json` beside it has the configuration.

Neither needs Django: `uvicorn --log-config agentsite/logging.json` reads both before
the application, so that all records of all its processes have one format.
"""

import logging

#: The paths of probes, which arrive every few seconds.
PROBES = ("/health", "/ready")


class SiteFilter(logging.Filter):
    """A filter that drops requests of probes, and uvicorn's second, coloured message.

    The app logs when the readiness changes.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return false for the record of a probe."""
        vars(record).pop("color_message", None)
        return not _path(record).endswith(PROBES)


def _path(record: logging.LogRecord) -> str:
    """Return the path of the request that a record is about; empty if of none."""
    if record.name == "uvicorn.access" and isinstance(record.args, tuple):
        return str(record.args[2]).partition("?")[0]
    if record.name == "django.request":
        return str(getattr(getattr(record, "request", None), "path_info", ""))
    return ""
