"""The tools that come with the agent.

Any installed app may have such a module: the tools in it are found at start.
"""

from streaming.tools.builtin.calculator import calculator
from streaming.tools.builtin.clock import current_time

__all__ = ["calculator", "current_time"]
