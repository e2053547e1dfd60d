"""The comparison of the bench's clients with the event log finds each kind of fault."""

from bench.fleet.comparison import Comparison, Event, Prompt, Seen


def seen(*events: tuple[int, str, str], trouble: str = "") -> Seen:
    """Return a run as a client saw it, an event a second."""
    arrived = [Event(n, kind, data, float(n)) for n, kind, data in events]
    return Seen("sse", "r", Prompt("say 2", "ab"), 0.0, arrived, trouble)


A = (1, "content", '{"content":"a"}')
B = (2, "content", '{"content":"b"}')
END = (3, "complete", '{"metadata":{"stop_reason":"end_turn"}}')
RESTARTED = (1_000_002, "restarted", '{"metadata":{"attempt":2,"discard_after":1}}')
LATER = (
    (1_000_003, "content", '{"content":"b"}'),
    (1_000_004, "complete", '{"metadata":{"stop_reason":"end_turn"}}'),
)


def compared(run: Seen, *log: tuple[int, str, str]) -> tuple[int, int, int]:
    """Return the losses, the repetitions and the differing bytes of a run."""
    found = Comparison()
    found.add(run, seen(*log).events)
    return found.lost, found.duplicates, found.differing_bytes


def test_the_comparison_finds_each_fault() -> None:
    whole = [A, B, END]
    assert compared(seen(*whole), *whole) == (0, 0, 0)
    assert compared(seen(A, END), *whole) == (2, 0, 0)  # the run, and its event
    assert compared(seen(A, B, trouble="gone"), *whole) == (1, 0, 0)
    assert compared(seen(A, A, B, END), *whole)[1] == 1
    other = (2, "content", '{"content":"b" }')
    assert compared(seen(*whole), A, other, END) == (0, 0, len(B[2]))
    assert compared(seen(*whole), A, END) == (0, 0, len(B[2]))


def test_the_comparison_leaves_out_events_that_were_voided() -> None:
    assert compared(seen(A, B, RESTARTED, *LATER), A, RESTARTED, *LATER) == (0, 0, 0)
    twice = (1_000_003, "content", '{"content":"ab"}')
    run = seen(A, B, RESTARTED, twice, LATER[1])
    assert compared(run, A, RESTARTED, twice, LATER[1]) == (1, 0, 0)


def test_the_longest_gap_includes_the_wait_for_the_first_event() -> None:
    assert seen((5, "content", "{}"), (7, "content", "{}")).gap == 5.0
    assert seen((1, "content", "{}"), (7, "content", "{}")).gap == 6.0
