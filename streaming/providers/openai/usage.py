"""Token counts as OpenAI and the servers that speak like it tell them."""

import msgspec

from streaming.providers.base import TokenUsage

Count = int | float | None


class TokenDetails(msgspec.Struct, gc=False):
    """What the tokens of one direction were."""

    cached_tokens: Count = None
    cache_write_tokens: Count = None
    reasoning_tokens: Count = None


def token_usage(
    read: Count,
    written: Count,
    read_details: TokenDetails | None,
    written_details: TokenDetails | None,
) -> TokenUsage:
    """Both APIs' counts, which differ in their names only, as ours."""
    of_read = read_details or TokenDetails()
    of_written = written_details or TokenDetails()
    return TokenUsage(
        input_tokens=int(read or 0),
        output_tokens=int(written or 0),
        reasoning_tokens=int(of_written.reasoning_tokens or 0),
        cache_read_tokens=int(of_read.cached_tokens or 0),
        cache_write_tokens=int(of_read.cache_write_tokens or 0),
    )
