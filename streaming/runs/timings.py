"""The durations by which the runs of one process are executed and maintained."""

import msgspec


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds that no operator needs to set; tests shorten them."""

    #: Interval between two heartbeats. A cancel from another process reaches the
    #: owner within one interval, and must do so within a second.
    heartbeat: float = 0.4
    #: Time without progress after which the event loop counts as blocked.
    blocked: float = 2.0
    #: Interval between two reports of a process about itself.
    worker_report: float = 5.0
    #: Mean interval between two looks at the queue. A run that other code enqueues is
    #: claimed within about this time; an idle process makes one query in it.
    queue: float = 0.5
    #: Mean interval between two looks for queued runs that have lost their jobs.
    job_repair: float = 10.0
    #: Time in the queue after which the log has a warning.
    late_claim: float = 60.0
    #: Time for the receivers of signals to return at shutdown.
    receivers: float = 5.0
    #: Time for the agent to stop after a cancel: a tool may ignore its cancellation.
    agent_stop: float = 2.0
    #: Time for a run to write its end after it was stopped, and for its executor to
    #: write the ends of jobs and claims.
    run_stop: float = 5.0
    #: Least time for the database to accept a run's end, however long it has been
    #: unavailable before. At shutdown a process with few runs waits no longer.
    least_finish: float = 4.0
    #: Further time for each run that ends or is handed over in the same drain: the
    #: writes of 1,000 hand-overs take 3 seconds of one core, more on a busy machine.
    drain_per_run: float = 0.01
    #: Time from a run's end to the compaction of its log: most readers are done then.
    compact_after: float = 60.0
    #: Mean interval between two compactions.
    compaction: float = 15.0
    #: Mean interval between two removals of expired rows.
    retention: float = 600.0
