"""The tools of an agent: `@tool` makes a tool of a typed function.

from streaming.tools import ToolContext, ToolError, tool
"""

from streaming.tools.base import Tool, ToolContext, ToolError, tool
from streaming.tools.toolbox import Toolbox

__all__ = ["Tool", "ToolContext", "ToolError", "Toolbox", "tool"]
