"""The requests of one model call: the first, and the others after refusals."""

import logging
import re
from collections.abc import Sequence

import msgspec

from streaming.exceptions import ContextTooLong, ProviderError
from streaming.messages import Message, split_exchanges
from streaming.providers.base import AdaptiveProvider, ModelRequest
from streaming.providers.context_budget import ContextBudget
from streaming.providers.context_window import counted_error, shorten, token_counts
from streaming.providers.errors import is_about_policy
from streaming.providers.quotations import without_quotations
from streaming.providers.refusals import MAX_CAUSES, sentences
from streaming.providers.token_estimate import request_tokens

logger = logging.getLogger(__name__)

#: The share of a refused history that is sent. If the server stated its counts, the
#: margin applies to the part that fits by them; otherwise half of the history is sent.
_MARGIN = 0.95
_HALF = 0.5
#: Requests of a call that are refused as too long, before its numbers are doubted.
_TRUSTED = 2

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


class Adaptation:
    """The request of one model call, adapted to what the server accepts."""

    __slots__ = (
        "_adaptive",
        "_budget",
        "_causes",
        "_estimated",
        "_refusals",
        "_request",
        "_sent_without",
        "dropped",
    )

    def __init__(
        self,
        provider: AdaptiveProvider | None,
        request: ModelRequest,
        budget: ContextBudget,
    ) -> None:
        #: The number of exchanges that were left out because of the context window.
        self.dropped = 0
        self._adaptive = provider
        self._request = request
        self._budget = budget
        self._estimated = 0.0
        self._sent_without: frozenset[str] = frozenset()
        self._causes = 0
        self._refusals = 0
        if budget.window:
            self._estimated = request_tokens(request)
            share = budget.share(request, self._estimated)
            if share < 1 and self._keep(shorten(request.messages, share)):
                self._estimated = request_tokens(self._request)

    def next_request(self) -> ModelRequest:
        """Return the request to send now."""
        if self._adaptive:
            self._sent_without = self._adaptive.learned | self._request.avoid
        return self._request

    def accepted(self, tokens: int) -> None:
        """Note the server's count of the tokens of the newest request."""
        self._budget.record(self._estimated, tokens)

    async def adapt(self, error: ProviderError) -> bool:
        """Adapt the request to a refusal; return True if it should be sent again.

        Raises `ContextTooLong` if the newest exchange alone is too long.
        """
        own_text = await without_quotations(error.refusal, self._request.messages)
        if isinstance(error, ContextTooLong):
            is_response = _RESPONSE_TOO_LONG.search(error.refusal)
            if is_response and self._learn(error, own_text):
                return True
            return self._shorten(error, own_text)
        if self._learn(error, own_text):
            return True
        if error.retryable or not _ABOUT_HISTORY.search(sentences(error.refusal)):
            return False
        # The server refuses some message: only the newest exchange is certainly needed.
        return self._keep(split_exchanges(self._request.messages)[-1])

    def _shorten(self, error: ContextTooLong, own_text: str) -> bool:
        """Leave out the oldest exchanges, after the server found the request too long.

        The server's two counts determine how many, or its window. If neither is known,
        half of them are left out; also after numbers that were wrong too often.
        """
        self._budget.learn_window(own_text)
        estimated = request_tokens(self._request)
        share = self._budget.share(self._request, estimated)
        if counts := token_counts(own_text):
            share = counts.limit / counts.used * _MARGIN
        self._refusals += 1
        if share == 1 or self._refusals > _TRUSTED:
            share = min(share, _HALF)
        if self._keep(shorten(self._request.messages, share)):
            self._estimated = request_tokens(self._request)
            return True
        if counts := counts or self._budget.counts(self._request):
            raise counted_error(counts) from error
        return False

    def _learn(self, error: ProviderError, own_text: str) -> bool:
        """Learn the cause of a refusal; return False if the call has learned enough.

        A cause that only a quotation of the conversation names is avoided in this call
        and not remembered: a user may have written it.
        """
        adaptive, request = self._adaptive, self._request
        if not (error.refusal and adaptive) or self._causes == MAX_CAUSES:
            return False
        self._causes += 1
        if cause := adaptive.find_cause(request, own_text, self._sent_without):
            adaptive.learn(cause)
            return True
        cause = adaptive.find_cause(request, error.refusal, self._sent_without)
        if cause is None:
            return False
        avoid = request.avoid | {cause}
        self._request = msgspec.structs.replace(request, avoid=avoid)
        logger.warning("request refused, cause avoided once: %s", cause)
        return True

    def _keep(self, messages: Sequence[Message]) -> bool:
        """Send only the newest messages; return False if they are all of them."""
        before = split_exchanges(self._request.messages)
        dropped = len(before) - len(split_exchanges(messages))
        if not dropped:
            return False
        self.dropped += dropped
        self._request = msgspec.structs.replace(self._request, messages=messages)
        logger.info("history shortened: %d exchanges", self.dropped)
        return True


def is_policy_refusal(error: ProviderError) -> bool:
    """Return True if a server refused a request because of its content."""
    return is_about_policy(error.refusal)
