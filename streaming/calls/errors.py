"""The errors of calls from Python."""

from streaming.exceptions import AgentError


class RunFailed(Exception):
    """A run that Python code has waited for failed.

    `error` is the error that clients of the run receive, `output` the text until then.
    """

    def __init__(self, run_id: str, error: AgentError, output: str) -> None:
        self.run_id = run_id
        self.error = error
        self.output = output
        super().__init__(f"Run {run_id} failed ({error.code}): {error.message}")
