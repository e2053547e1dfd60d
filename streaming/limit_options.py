"""The settings of the limits of a process, an organization and a conversation."""

from typing import Annotated

from streaming.options import Setting
from streaming.telemetry_options import TelemetryOptions


class LimitOptions(TelemetryOptions, frozen=True):
    """The settings of the most streams and runs at a time."""

    stream_max_open: Annotated[
        int,
        Setting(
            "Maximum number of open streams of one process; one more gets 429 "
            "`too_many_streams`. 0: no limit.",
            minimum=0,
        ),
    ] = 2_000
    run_max: Annotated[
        int,
        Setting(
            "Maximum number of runs that one process executes at a time; one more gets "
            "429 `rate_limited`. 0: no limit.",
            minimum=0,
        ),
    ] = 1_000
    run_max_per_org: Annotated[
        int,
        Setting(
            "Maximum number of active runs of one organization; one more gets 429 "
            "`rate_limited`. 0: no limit.",
            minimum=0,
        ),
    ] = 0
    run_max_pending: Annotated[
        int,
        Setting(
            "Maximum number of pending runs of one conversation "
            "([busy conversations](api.md#busy-conversations)), and of waiting texts "
            "that [steer](api.md#steering-a-run) one run; one more gets 429 "
            "`rate_limited`. 0: no limit.",
            minimum=0,
        ),
    ] = 20
