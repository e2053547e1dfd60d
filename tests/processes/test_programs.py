"""Short programs that call agents, and end without warnings."""

from tests.processes.conftest import Make
from tests.servers import UVICORN

SETUP = """
import asyncio, django
django.setup()
from streaming.agents import registry
from streaming.calls.requests import make_call
from streaming.calls import starting
from streaming.models import Run

def call(prompt="Explain how photosynthesis works"):
    return make_call(registry.get().default, prompt)
"""
ASYNC = """
async def main():
    run = await starting.run(call())
    assert "light" in run.output
    started = await starting.start(call("count to 5000"))
    async for event in starting.stream(call("count to 5000")):
        break
    return run.id

run_id = asyncio.run(main())
statuses = list(Run.objects.order_by("created_at").values_list("status", flat=True))
print(*statuses)
"""
SYNC = """
for _ in range(3):
    assert "light" in starting.run_sync(call()).output
print(*Run.objects.values_list("status", flat=True))
"""


def run(make: Make, program: str, **variables: str) -> list[str]:
    """Run a program to its end, with warnings as errors; return its output."""
    server = make(*UVICORN, PYTHONWARNINGS="error", PYTHONASYNCIODEBUG="1", **variables)
    done = server.run("-c", SETUP + program)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert "never awaited" not in done.stderr
    return done.stdout.split()


def test_a_program_with_an_event_loop(make: Make) -> None:
    completed, left, cancelled = run(make, ASYNC, DEMO_DELAY_MS="5")
    assert (completed, left, cancelled) == ("completed", "failed", "cancelled")


def test_a_synchronous_program(make: Make) -> None:
    assert run(make, SYNC) == ["completed"] * 3
