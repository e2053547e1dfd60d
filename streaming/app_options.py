"""The settings of the app, each declared once; `conf` gives their values."""

from typing import Annotated, Literal

from streaming.limit_options import LimitOptions
from streaming.options import Setting


class AgentConf(LimitOptions, frozen=True):
    """The settings of the agent, its runs and its streams."""

    model: Annotated[
        str,
        Setting(
            "Provider and model as `provider:model`, or the provider alone for its "
            "default model. In the environment: `LLM_PROVIDER` and `LLM_MODEL`.",
            default="the first provider whose key is set, else `demo`",
        ),
    ] = ""
    default_agent: Annotated[
        str,
        Setting(
            "Name of the agent of requests that name none.",
            default="the only one that the apps declare, else the settings' own",
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
    agent_summarize_history: Annotated[
        bool,
        Setting(
            "The model writes a summary of the exchanges that do not fit into its "
            "context window. Requests have the summary in their place."
        ),
    ] = False
    conversation_page_messages: Annotated[
        int,
        Setting(
            "Maximum number of messages in one response about a conversation; a cursor "
            "leads to the others.",
            minimum=1,
        ),
    ] = 1_000
    conversation_page_chars: Annotated[
        int,
        Setting(
            "Length of the stored messages at which a response about a conversation "
            "ends; it has at least one message.",
            "characters",
            minimum=1,
        ),
    ] = 4_000_000
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
    model_prices: Annotated[
        tuple[str, ...],
        Setting(
            "Prices of models in US dollars for a million tokens, as in "
            "`MODEL=INPUT/OUTPUT` or `MODEL=INPUT/OUTPUT/CACHE_READ/CACHE_WRITE`. They "
            "precede those of the package `genai-prices`."
        ),
    ] = ()
    authentication: Annotated[
        tuple[str, ...] | str,
        Setting(
            "Authenticators: the first that returns the caller of a request decides. "
            "Dotted paths of functions, of classes of Django REST framework or "
            "django-ninja, or calls such as `streaming.auth.header('X-Org-Id')` "
            "([authentication](authentication.md)).",
        ),
    ] = ("streaming.auth.session", "streaming.auth.api_key")
    organization: Annotated[
        str,
        Setting(
            "Dotted path of the function that returns the organization of a user: "
            "`(user, request or None)`, sync or async, to an object with a primary key "
            "or to a text.",
            default="none: all users are in the organization `default`",
        ),
    ] = ""
    share: Annotated[
        Literal["user", "organization"],
        Setting(
            "Users own their conversations, or share them with the users of their "
            "organization."
        ),
    ] = "user"
    gateway_secret: Annotated[
        str,
        Setting(
            "Secret that a gateway sends as `X-Gateway-Secret`. If it is set, headers "
            "of `streaming.auth.header` are refused without it. If it is not set, they "
            "are accepted from every client that reaches the server.",
            secret=True,
        ),
    ] = ""
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
    event_live_ms: Annotated[
        int,
        Setting(
            "Interval at which new events go to readers in other processes. Where "
            "nothing but the database brings them, these readers poll at this interval "
            "and the log is flushed at twice this interval, as long as there are such "
            "readers.",
            "milliseconds",
            minimum=1,
        ),
    ] = 20
    event_live: Annotated[
        Literal["auto", "none"],
        Setting(
            "Path of new events to readers in other processes: `auto` is Redis if "
            "`REDIS_URL` is set, else NOTIFY if the database is PostgreSQL, else the "
            "database alone. `none` is the database alone, as behind a pooler of "
            "transactions ([operations](operations.md#several-processes))."
        ),
    ] = "auto"
    redis_url: Annotated[
        str,
        Setting(
            "URL of the Redis that brings new events to readers in other processes, "
            "such as `redis://:password@host:6379` (install the extra `redis`). It "
            "stores nothing.",
            pattern=r"((redis|rediss|unix)://.+)?",
            expected="a URL such as redis://host:6379",
            secret=True,
        ),
    ] = ""
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
            "Time without a heartbeat after which a process counts as dead, and others "
            "continue its runs.",
            "seconds",
            minimum=1,
        ),
    ] = 15.0
    run_max_attempts: Annotated[
        int,
        Setting(
            "Number of processes that may die while they execute a run, counted since "
            "its last checkpoint, before the run ends as `interrupted`. 1: a run ends "
            "with its process, also at a drain; required while processes of a version "
            "without further attempts serve.",
            minimum=1,
        ),
    ] = 3
    run_blocked_lease_seconds: Annotated[
        float,
        Setting(
            "Time for which a process whose event loop is blocked, as by an async tool "
            "that blocks, keeps its runs. Then other processes continue them.",
            "seconds",
            minimum=0,
        ),
    ] = 60.0
    run_executor: Annotated[
        str,
        Setting(
            "Executor of runs: `in_process` (the process that starts a run executes "
            "it), `procrastinate` (processes of `manage.py agent_worker` execute all "
            "runs; needs PostgreSQL and the extra `procrastinate`), or the dotted path "
            "of a class ([workers](workers.md))."
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

    audit_retention_days: Annotated[
        int,
        Setting(
            "Time that records of the audit log are kept. 0: for ever.",
            "days",
            minimum=0,
        ),
    ] = 0

    @property
    def authenticators(self) -> tuple[str, ...]:
        """Return the names of the authenticators; one may be given as text."""
        names = self.authentication
        return (names,) if isinstance(names, str) else names

    @property
    def executor_path(self) -> str:
        """Return the dotted path of the executor."""
        name = self.run_executor
        return name if "." in name else f"streaming.runs.executors.{name}.executor"

    @property
    def database_threads(self) -> int:
        """Return the number of threads of one process that use the database."""
        return self.database_read_threads + self.request_threads + 1
