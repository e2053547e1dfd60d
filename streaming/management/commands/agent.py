"""`manage.py agent [NAME] "question"` asks an agent in the terminal.

The response goes to the standard output, reasoning and tool calls to the standard
error, so that the output of a pipe is the response alone. The exit code tells the end
of the run: 0 if the model came to an end, 3 if it was stopped before, 1 if the run
failed, and 130 after Ctrl+C, which cancels the run.
"""

import asyncio
import os
import signal
import sys
from contextlib import aclosing

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming.agents import registry
from streaming.agents.declaration import Agent
from streaming.calls import starting
from streaming.calls.requests import Call, make_call
from streaming.events import (
    Complete,
    Content,
    ErrorEvent,
    Event,
    Input,
    Restarted,
    Thinking,
    ToolCallEvent,
    ToolResultEvent,
    encode,
)
from streaming.exceptions import AgentError
from streaming.storage import database

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
#: Characters of a tool's arguments or result that are shown.
SHOWN = 200
OK, FAILED, STOPPED = 0, 1, 3
CANCELLED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + signal.SIGPIPE


class Command(BaseCommand):
    """Runs an agent, and shows its events as they happen."""

    help = (
        "Asks an agent, and streams its response. Without a question it reads one from "
        "the standard input. The exit code is 0 after a regular end, 3 if the response "
        "is incomplete, 1 after a failure and 130 after Ctrl+C, which cancels the run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments."""
        parser.add_argument(
            "words",
            nargs="*",
            metavar="[NAME] QUESTION",
            help="name of the agent (default: the default agent), and the question",
        )
        parser.add_argument("--conversation", default="", help="id of a conversation")
        parser.add_argument("--organization", help="id of the organization")
        parser.add_argument(
            "--json", action="store_true", help="write each event as a line of JSON"
        )

    def handle(
        self,
        *args: object,
        words: list[str],
        conversation: str,
        organization: str | None,
        json: bool,
        **_: object,
    ) -> None:
        """Run the agent, and exit with a code for the end of the run."""
        agent, question = self._parse(words)
        try:
            call = make_call(
                agent,
                question,
                conversation=conversation,
                organization=organization,
            )
            code = asyncio.run(self._show(call, json=json))
        except AgentError as error:
            raise CommandError(error.message) from None
        except KeyboardInterrupt:
            code = CANCELLED
        except BrokenPipeError:  # such as `manage.py agent … | head`
            code = BROKEN_PIPE
            # Python flushes the output at its exit, which would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            database.close()
        if code:
            sys.exit(code)

    def _parse(self, words: list[str]) -> tuple[Agent, str]:
        """Return the agent and the question that the arguments name."""
        agents = registry.get()
        name = None
        if len(words) > 1 or (words and words[0] in agents.offered):
            name, *words = words
        try:
            agent = agents.select(name)
        except registry.UnknownAgent:
            known = ", ".join(agents.offered)
            raise CommandError(
                f"There is no agent {name!r}. The agents are: {known}. Write a "
                "question of several words in quotes."
            ) from None
        if words:
            return agent, " ".join(words)
        if sys.stdin.isatty():
            raise CommandError("A question is needed, or a pipe with one.")
        return agent, sys.stdin.read()

    async def _show(self, call: Call, *, json: bool) -> int:
        """Show the events of a run; return the exit code for its end."""
        code = FAILED
        async with aclosing(starting.stream(call)) as events:
            async for event in events:
                if json:
                    self.stdout.write(encode(event).decode())
                else:
                    self._write(event)
                self.stdout.flush()
                if isinstance(event, Complete):
                    reason = event.metadata.stop_reason
                    code = {"end_turn": OK, "cancelled": CANCELLED}.get(reason, STOPPED)
        return code

    def _write(self, event: Event) -> None:
        match event:
            case Content():
                self.stdout.write(event.content, ending="")
            case Thinking():
                self._write_aside(event.thinking_step)
            case ToolCallEvent(tool_call=used):
                self._write_aside(f"\n{used.name} {_clip(used.arguments)}\n")
            case ToolResultEvent(tool_call=used):
                self._write_aside(f"{used.name}: {_clip(str(used.result))}\n")
            case Input(input=text):
                self._write_aside(f"\n> {_clip(text)}\n")
            case Restarted():
                self._write_aside("\nAnother process begins the answer again.\n")
            case ErrorEvent():
                self.stderr.write(f"\n{event.error} ({event.metadata.code})")
            case Complete(metadata=end):
                self.stdout.write("")
                if end.stop_reason != "end_turn":
                    self.stderr.write(f"The run ended early: {end.stop_reason}")

    def _write_aside(self, text: str) -> None:
        if self.stderr.isatty() and self.style.ERROR("x") != "x":
            text = f"{DIM}{text}{PLAIN}"
        self.stderr.write(text, ending="", style_func=str)


def _clip(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
