"""The context windows of the vendors' own models, in tokens, by the names' beginnings.

Models that anybody can serve, such as gpt-oss or Gemma, are missing: their window is
the choice of the server.
"""

# Sources, read in November 2026:
# platform.claude.com/docs/en/build-with-claude/context-windows and /docs/en/models,
# developers.openai.com/api/docs/models. Where OpenAI limits the input of a model below
# its window, as it does from GPT-5 on (the rest is for the response), the number is the
# limit of the input.
_WINDOWS = {
    "claude-3": 200_000,
    "claude-opus-4": 200_000,
    "claude-opus-4-6": 1_000_000,
    "claude-opus-4-7": 1_000_000,
    "claude-opus-4-8": 1_000_000,
    "claude-sonnet-4": 200_000,
    "claude-sonnet-4-6": 1_000_000,
    "claude-haiku-4": 200_000,
    "claude-fable-5": 1_000_000,
    "claude-haiku-5": 1_000_000,
    "claude-mythos-5": 1_000_000,
    "claude-opus-5": 1_000_000,
    "claude-sonnet-5": 1_000_000,
    "gpt-3.5-turbo": 16_385,
    "gpt-4-turbo": 128_000,
    "gpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-5": 272_000,
    "gpt-5-chat": 128_000,
    "gpt-5.1-chat": 128_000,
    "gpt-5.2-chat": 128_000,
    "gpt-5.3-chat": 128_000,
    "gpt-5.4": 922_000,
    "gpt-5.4-mini": 272_000,
    "gpt-5.4-nano": 272_000,
    "gpt-5.5": 922_000,
    "gpt-5.6": 922_000,
    "gpt-6": 922_000,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o1-preview": 128_000,
    "o3": 200_000,
    "o4-mini": 200_000,
}


def known_window(model: str) -> int:
    """Return the window of a model; 0 if it is unknown.

    The longest matching beginning counts. A router's prefix, as in `openai/gpt-5`, is
    left out.
    """
    name = model.rsplit("/", 1)[-1]
    known = [start for start in _WINDOWS if name.startswith(start)]
    return _WINDOWS[max(known, key=len)] if known else 0
