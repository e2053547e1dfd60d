"""The settings of metrics and traces; they are among those of the app."""

from typing import Annotated

from streaming.options import Options, Setting


class TelemetryOptions(Options, frozen=True):
    """The settings of metrics and traces."""

    metrics_token: Annotated[
        str,
        Setting(
            "Token with which `GET /metrics` answers; without it the path is 404. "
            "Needs the extra `metrics` ([observability](observability.md)).",
            secret=True,
        ),
    ] = ""
    metrics_address: Annotated[
        str,
        Setting(
            "Address at which one process of the machine answers `GET /metrics` "
            "without a token, such as `127.0.0.1:9464`: also for processes that serve "
            "no HTTP. Needs the extra `metrics`.",
            pattern=r"(\S+:\d{1,5})?",
            expected="a host and a port, as in `127.0.0.1:9464`",
            default="none",
        ),
    ] = ""
    metrics_dir: Annotated[
        str,
        Setting(
            "Directory in which the processes of a machine find each other's metrics. "
            "Its path is short, since it has the names of sockets.",
            default="one for each user and database, in the system's temporary "
            "directory",
        ),
    ] = ""
    traces: Annotated[
        bool,
        Setting(
            "Record traces with OpenTelemetry. Needs the extra `otel`, which reads the "
            "variables of OpenTelemetry, such as `OTEL_EXPORTER_OTLP_ENDPOINT` "
            "([observability](observability.md#traces)).",
        ),
    ] = False
    trace_content: Annotated[
        bool,
        Setting(
            "Traces have the texts of instructions, prompts, answers, and of the "
            "arguments and results of tools.",
        ),
    ] = False

    @property
    def has_metrics(self) -> bool:
        """Return whether metrics are exported."""
        return bool(self.metrics_token or self.metrics_address)
