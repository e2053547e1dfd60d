"""Tools for tests: a scripted model, a provider's HTTP edge, a launcher of servers, a
reader of event streams.
"""

from streaming.testing.scripted import ScriptedModel, call, pause, scripted, thinking

__all__ = ["ScriptedModel", "call", "pause", "scripted", "thinking"]
