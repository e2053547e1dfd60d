"""The built-in tools of the agent.

The tools in the `agent_tools` module of each installed app are found at start.
"""

from streaming.tools.builtin.calculator import calculator
from streaming.tools.builtin.clock import current_time

__all__ = ["calculator", "current_time"]
