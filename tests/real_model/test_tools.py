"""Tools that a real model calls."""

from tests.real_model.servers import Site, final, text_of


def test_a_tool_is_called_and_its_result_answered(tools: Site) -> None:
    frames = tools.ask("What is 5 * 11?")
    events = [frame.event for frame in frames]
    assert events[:3] == ["connected", "tool_call", "tool_result"]
    assert set(events[3:-2]) == {"content"}
    result = frames[2].data["tool_call"]
    assert (result["name"], result["status"]) == ("calculator", "completed")
    assert result["result"] in text_of(frames)
    metadata = final(frames)["metadata"]
    assert metadata["stop_reason"] == "end_turn"
    assert metadata["execution_summary"]["llm_calls"] == 2
    assert metadata["execution_summary"]["used_tools"] == ["calculator"]
    assert 0 < metadata["usage"]["output_tokens"] < 2 * 40


def test_the_last_iteration_calls_no_tool(tools: Site) -> None:
    frames = tools.ask("What is 5 * 11?", max_iterations=1)
    assert {frame.event for frame in frames[1:-2]} == {"content"}
    summary = final(frames)["metadata"]["execution_summary"]
    assert (summary["llm_calls"], summary["tool_calls"]) == (1, 0)
