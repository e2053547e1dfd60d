"""The tokens that a request may have, known before it is sent.

One budget serves all runs of a process that use the same server and model. It learns
from the server: its counts correct the estimates, and its errors state the window.
"""

import time
from math import ceil

from streaming.providers.base import ModelRequest, ProviderOptions
from streaming.providers.context_window import Counts, stated_window
from streaming.providers.known_windows import known_window
from streaming.providers.token_estimate import fixed_tokens, request_tokens

#: The largest part of a window that is kept free for the response. Small servers count
#: the response only as it grows, and `LLM_MAX_TOKENS` may be all that they have.
_RESPONSE_SHARE = 1 / 4
#: Histories shrink in steps of this share of the budget. The requests of the following
#: runs then begin alike, and the caches of providers can serve them.
_STEP = 1 / 8
#: The bounds of the correction: a wrong count must not spoil all further estimates.
_MIN_CORRECTION, _MAX_CORRECTION = 0.5, 2.0
#: The weight of the newest count.
_NEWEST_WEIGHT = 0.5
#: Templates and hidden prompts dominate the counts of shorter requests, in tokens.
_MIN_CORRECTED = 500
#: Time that a window stated by an error is believed. After it one request is refused
#: again; the server may have been restarted with another window.
_STATED_SECONDS = 3600.0


class ContextBudget:
    """The context window of one model at one server, as far as it is known."""

    def __init__(self, model: str, options: ProviderOptions) -> None:
        self._expected = options.llm_context_window or known_window(model)
        self._response = options.llm_max_tokens
        self._correction = 1.0
        self._stated = 0
        self._believed_until = 0.0
        #: The most tokens that an accepted request had, as the server counted them.
        self._accepted = 0

    @property
    def window(self) -> int:
        """The context window in tokens; 0 if it is unknown."""
        if time.monotonic() >= self._believed_until:
            return self._expected
        return min(self._stated, self._expected or self._stated)

    def share(self, request: ModelRequest, estimated: float) -> float:
        """Return the share of the messages' tokens that fits; 1 if all of them do.

        `estimated` are the tokens of the request without a correction.
        """
        window = self.window
        budget = window - min(self._response, window * _RESPONSE_SHARE)
        excess = estimated * self._correction - budget
        if not window or excess <= 0:
            return 1.0
        step = budget * _STEP
        fixed = fixed_tokens(request)
        kept = estimated - ceil(excess / step) * step / self._correction
        return max(kept - fixed, 0.0) / max(estimated - fixed, 1.0)

    def record(self, estimated: float, counted: int) -> None:
        """Correct later estimates by the server's count of an accepted request."""
        self._accepted = max(self._accepted, counted)
        self._stated = max(self._stated, counted)  # an accepted request proves more
        if counted and estimated >= _MIN_CORRECTED:
            observed = counted / estimated
            observed = min(max(observed, _MIN_CORRECTION), _MAX_CORRECTION)
            self._correction += (observed - self._correction) * _NEWEST_WEIGHT

    def learn_window(self, text: str) -> None:
        """Remember the window that an error's text states, for all later requests.

        A window below the counts of accepted requests is believed after it was stated
        again and again: the number may be another one, such as an error's code, or the
        server may have been restarted with a smaller window.
        """
        window = stated_window(text)
        if window < self._accepted:
            self._accepted //= 2
        elif window:
            self._stated = window
            self._believed_until = time.monotonic() + _STATED_SECONDS

    def counts(self, request: ModelRequest) -> Counts | None:
        """Return the estimated tokens of a request that is too long, and the window."""
        used = round(request_tokens(request) * self._correction)
        return Counts(used, self.window) if 0 < self.window < used else None
