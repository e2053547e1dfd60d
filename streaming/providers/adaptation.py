"""The further requests of one model call, after the server has refused the first."""

import logging
import re
from collections.abc import Sequence

import msgspec

from streaming.exceptions import ContextTooLong, ProviderError
from streaming.messages import Message, split_exchanges
from streaming.providers.base import AdaptiveProvider, ModelRequest, Provider
from streaming.providers.context_window import shorten
from streaming.providers.refusals import MAX_CAUSES, sentences

logger = logging.getLogger(__name__)

#: The words of a refusal whose cause is some message of the history.
_ABOUT_HISTORY = re.compile(
    r"messages?\b|content|\brole|\binput\b|history|conversation|\bturns?\b|template|"
    r"tool[_ ]?(call|result|use)|prompt|polic(y|ies)|function|signature|reasoning|"
    r"thinking",
    re.IGNORECASE,
)
#: A request is also too long if the limit of its response is.
_RESPONSE_TOO_LONG = re.compile(
    r"max_(completion_)?tokens[`'\"]* (is |are )?too large|in the completion",
    re.IGNORECASE,
)
_POLICY = re.compile(
    r"content[ _]?(filter|policy|management)|responsible ?ai|content exists risk|"
    r"violat[^.]{0,60}polic|usage polic|flagged|data_inspection_failed|moderation",
    re.IGNORECASE,
)


class Adaptation:
    """The request of one model call, adapted to what the server has refused so far."""

    def __init__(self, provider: Provider, request: ModelRequest) -> None:
        #: The number of exchanges that were left out because of the context window.
        self.dropped = 0
        self._adaptive = provider if isinstance(provider, AdaptiveProvider) else None
        self._request = request
        self._sent_without: frozenset[str] = frozenset()
        self._causes = 0

    def next_request(self) -> ModelRequest:
        """Return the request to send now."""
        if self._adaptive:
            self._sent_without = self._adaptive.learned
        return self._request

    def adapt(self, error: ProviderError) -> bool:
        """Adapt the request to a refusal; return True if it should be sent again."""
        if isinstance(error, ContextTooLong):
            is_response = _RESPONSE_TOO_LONG.search(error.refusal)
            if is_response and self._learn(error):
                return True
            return self._keep(shorten(self._request.messages, error))
        if self._learn(error):
            return True
        if error.retryable or not _ABOUT_HISTORY.search(sentences(error.refusal)):
            return False
        # The server refuses some message: only the newest exchange is certainly needed.
        return self._keep(split_exchanges(self._request.messages)[-1])

    def _learn(self, error: ProviderError) -> bool:
        """Learn the cause of a refusal; return False if the call has learned enough."""
        if not (error.refusal and self._adaptive) or self._causes == MAX_CAUSES:
            return False
        self._causes += 1
        return self._adaptive.learn(self._request, error.refusal, self._sent_without)

    def _keep(self, messages: Sequence[Message]) -> bool:
        """Send only the newest messages; return False if they are all of them."""
        before = split_exchanges(self._request.messages)
        dropped = len(before) - len(split_exchanges(messages))
        if not dropped:
            return False
        self.dropped += dropped
        self._request = msgspec.structs.replace(self._request, messages=messages)
        logger.warning("history shortened: %d exchanges", self.dropped)
        return True


def is_policy_refusal(error: ProviderError) -> bool:
    """Return True if a server refused a request because of its content."""
    return bool(_POLICY.search(sentences(error.refusal)))
