"""The token counts of OpenAI and compatible servers."""

from collections.abc import Mapping

from streaming.providers.base import TokenUsage
from streaming.providers.limits import count


def token_usage(usage: Mapping[str, object], sent: str, received: str) -> TokenUsage:
    """Convert the counts of either API, which name the two directions differently.

    A count that is missing or no number is 0. Some servers leave the reasoning out of
    the output, which shows if it is the larger of the two.
    """
    of_sent = _details(usage, sent)
    output = count(usage.get(received))
    reasoning = count(_details(usage, received).get("reasoning_tokens"))
    return TokenUsage(
        input_tokens=count(usage.get(sent)),
        output_tokens=output if output >= reasoning else count(output + reasoning),
        reasoning_tokens=reasoning,
        cache_read_tokens=count(of_sent.get("cached_tokens")),
        cache_write_tokens=count(of_sent.get("cache_write_tokens")),
    )


def _details(usage: Mapping[str, object], direction: str) -> Mapping[str, object]:
    details = usage.get(f"{direction}_details")
    return details if isinstance(details, dict) else {}
