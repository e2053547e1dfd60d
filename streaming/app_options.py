"""The settings of the app, each declared once; `conf` gives their values."""

from typing import Annotated

from streaming.options import Options, Setting


class AgentConf(Options, frozen=True):
    """The settings of the agent, its runs and its streams."""

    model: Annotated[
        str,
        Setting(
            "Provider and model as `provider:model`, or the provider alone for its "
            "default model. In the environment: `LLM_PROVIDER` and `LLM_MODEL`.",
            default="the first provider whose key is set, else `demo`",
        ),
    ] = ""
    agent_name: Annotated[str, Setting("Name of the agent in the metadata.")] = "Agent"
    agent_description: Annotated[
        str, Setting("Description of the agent in the metadata.")
    ] = "A general-purpose agent that thinks, calls tools and streams its answer."
    agent_system_prompt: Annotated[str, Setting("Instructions for the model.")] = (
        "You are a helpful assistant. Use the tools when they give a surer answer "
        "than you could, the calculator for every calculation."
    )
    agent_max_input_chars: Annotated[
        int, Setting("Maximum length of `input`.", "characters", minimum=1)
    ] = 100_000
    agent_max_body_bytes: Annotated[
        int, Setting("Maximum size of a request's body.", "bytes", minimum=1024)
    ] = 2 * 1024 * 1024
    agent_max_bodies_bytes: Annotated[
        int,
        Setting(
            "Maximum size of all large request bodies that one process holds in memory "
            "at a time; one more gets 429 `rate_limited`. The first 64 kB of a body do "
            "not count.",
            "bytes",
            minimum=1024,
        ),
    ] = 64 * 1024 * 1024
    agent_max_context_chars: Annotated[
        int,
        Setting(
            "Maximum length of `context`, names and values together.",
            "characters",
            minimum=0,
        ),
    ] = 100_000
    agent_history_chars: Annotated[
        int,
        Setting(
            "Length of a conversation that is sent to the model; older exchanges are "
            "omitted.",
            "characters",
            minimum=1,
        ),
    ] = 400_000
    agent_tool_timeout_seconds: Annotated[
        float, Setting("Timeout of a tool call.", "seconds", minimum=0)
    ] = 30.0
    agent_max_tool_result_chars: Annotated[
        int,
        Setting(
            "Length of a tool result beyond which it is cut.", "characters", minimum=0
        ),
    ] = 100_000
    request_read_timeout_seconds: Annotated[
        float,
        Setting(
            "Time in which a client must send the head of a request, and again its "
            "body; otherwise it gets 408 `request_timeout` and is disconnected.",
            "seconds",
            minimum=0.05,
        ),
    ] = 30.0
    stream_heartbeat_seconds: Annotated[
        float,
        Setting("Silence after which a comment is sent.", "seconds", minimum=0.05),
    ] = 15.0
    stream_send_timeout_seconds: Annotated[
        float,
        Setting(
            "Time in which a client must read some of what was sent; otherwise it is "
            "disconnected, and may resume.",
            "seconds",
            minimum=0.05,
        ),
    ] = 30.0
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
    authentication: Annotated[
        str,
        Setting(
            "Dotted path of the function that returns the `Principal` of a request."
        ),
    ] = "streaming.api.access.organization_from_request"
    database_read_threads: Annotated[
        int,
        Setting(
            "Threads of one process that read from the database. One more writes.",
            minimum=1,
        ),
    ] = 4
    request_threads: Annotated[
        int,
        Setting(
            "Threads of one process for the synchronous code of requests, such as the "
            "admin's. Streams need none.",
            minimum=1,
        ),
    ] = 8
    event_flush_ms: Annotated[
        int,
        Setting(
            "Interval between flushes of the event log. A `kill -9` loses at most this "
            "interval plus one write.",
            "milliseconds",
            minimum=1,
        ),
    ] = 200
    run_abandon_seconds: Annotated[
        float,
        Setting(
            "Time that a run continues without a reader before it is cancelled. Runs "
            "with `background` are never cancelled for this reason.",
            "seconds",
            minimum=0,
        ),
    ] = 60.0
    run_max_chars: Annotated[
        int,
        Setting(
            "Length of all that one run adds to its conversation, at which the run "
            "ends with `max_tokens`.",
            "characters",
            minimum=1,
        ),
    ] = 16_000_000
    run_lease_seconds: Annotated[
        float,
        Setting(
            "Time without a heartbeat after which a process counts as dead and its "
            "runs as interrupted.",
            "seconds",
            minimum=1,
        ),
    ] = 15.0
    run_blocked_lease_seconds: Annotated[
        float,
        Setting(
            "Time for which a process whose event loop is blocked, as by an async tool "
            "that blocks, keeps its runs. Then other processes count them as "
            "interrupted.",
            "seconds",
            minimum=0,
        ),
    ] = 60.0
    run_executor: Annotated[
        str,
        Setting(
            "Executor of runs: a module of `streaming.runs.executors`, or the dotted "
            "path of a class."
        ),
    ] = "in_process"
    drain_seconds: Annotated[
        float,
        Setting(
            "Time that active runs have to finish at shutdown.", "seconds", minimum=0
        ),
    ] = 10.0
    run_retention_days: Annotated[
        int,
        Setting(
            "Time that a run's event log is kept after the run's end. 0: for ever.",
            "days",
            minimum=0,
        ),
    ] = 0
    conversation_retention_days: Annotated[
        int,
        Setting(
            "Time that a conversation is kept after its last use, with all that "
            "belongs to it. 0: for ever.",
            "days",
            minimum=0,
        ),
    ] = 0

    @property
    def database_threads(self) -> int:
        """Return the number of threads of one process that use the database."""
        return self.database_read_threads + self.request_threads + 1
