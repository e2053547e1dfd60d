"""The token counts of OpenAI and compatible servers."""

import msgspec

from streaming.providers.base import TokenUsage

Count = int | float | None


class TokenDetails(msgspec.Struct, gc=False):
    """The parts of the token count of one direction."""

    cached_tokens: Count = None
    cache_write_tokens: Count = None
    reasoning_tokens: Count = None


def token_usage(
    read: Count,
    written: Count,
    read_details: TokenDetails | None,
    written_details: TokenDetails | None,
) -> TokenUsage:
    """Convert the counts of either API; only their field names differ."""
    of_read = read_details or TokenDetails()
    of_written = written_details or TokenDetails()
    return TokenUsage(
        input_tokens=int(read or 0),
        output_tokens=int(written or 0),
        reasoning_tokens=int(of_written.reasoning_tokens or 0),
        cache_read_tokens=int(of_read.cached_tokens or 0),
        cache_write_tokens=int(of_read.cache_write_tokens or 0),
    )
