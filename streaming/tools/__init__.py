"""What an agent can do: `@tool` makes a typed function into a tool.

from streaming.tools import ToolContext, ToolError, tool
"""

from streaming.tools.base import Tool, ToolContext, ToolError, tool
from streaming.tools.toolbox import Toolbox

__all__ = ["Tool", "ToolContext", "ToolError", "Toolbox", "tool"]
