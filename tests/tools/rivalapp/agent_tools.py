"""One tool, named as a built-in one is."""

from streaming.tools import tool


@tool(name="calculator")
def abacus(beads: int) -> int:
    """Move the beads."""
    return beads
