"""The transaction of a checkpoint."""

from collections.abc import Sequence

from streaming.messages import unanswered_calls
from streaming.runs import inputs, store
from streaming.runs.inputs import Untaken
from streaming.runs.store import State


class Checkpoint:
    """Saves the state of a run; after the results of its tools it finds new inputs.

    `taken` are the inputs whose messages the state has.
    """

    def __init__(self, state: State, taken: Sequence[str]) -> None:
        self._state = state
        self._taken = taken
        #: The inputs that the run is to take before its next model call.
        self.untaken: Sequence[Untaken] = ()

    def __call__(self, last: int) -> None:
        """Save the state; `last` is the number of the run's last entry so far.

        Raises `OwnershipLost`.
        """
        store.checkpoint(self._state, last)
        inputs.mark_taken(self._taken)
        messages, run_id = self._state.messages, self._state.run.id
        follows_tools = bool(messages) and messages[-1].role == "tool"
        if follows_tools and not unanswered_calls(messages):
            self.untaken = inputs.untaken([run_id]).get(run_id, ())
