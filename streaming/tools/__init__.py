"""The tools of an agent: `@tool` makes a tool of a typed function.

from streaming.tools import Context, ToolError, tool
"""

from streaming.tools.base import Context, Tool, ToolError, tool
from streaming.tools.parameters import InvalidTool
from streaming.tools.toolbox import Toolbox

__all__ = ["Context", "InvalidTool", "Tool", "ToolError", "Toolbox", "tool"]
