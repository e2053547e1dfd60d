"""Tools of an app: one of its own, one that it imports."""

from streaming.tools import tool
from streaming.tools.builtin.calculator import calculator

__all__ = ["calculator", "shout", "whisper"]


@tool
def shout(text: str) -> str:
    """Say it loudly."""
    return text.upper()


@tool
async def whisper(text: str) -> str:
    """Say it softly."""
    return text.lower()
