"""The measurements of this process: metrics, traces, and the run of a log record."""
