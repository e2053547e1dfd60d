"""The tools of the installed apps are found at start."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import modify_settings

from streaming.agents import registry
from streaming.agents.loops import in_thread, make_loops
from streaming.messages import ToolCallPart, ToolResultPart
from streaming.tools import Context, Toolbox, tool


def installed(*names: str) -> modify_settings:
    return modify_settings(
        INSTALLED_APPS={"append": [f"tests.tools.{name}" for name in names]}
    )


def toolbox() -> Toolbox:
    return make_loops(registry.get()).find("").loop.toolbox


def names() -> list[str]:
    return [spec.name for spec in toolbox().specs]


def test_the_app_has_the_built_in_tools_when_it_is_ready() -> None:
    assert names() == ["calculator", "current_time"]


def test_tools_of_other_apps_follow_in_the_order_of_the_apps() -> None:
    with installed("quietapp", "exampleapp"):
        assert names() == ["calculator", "current_time", "shout", "whisper"]


@pytest.mark.parametrize(("name", "result"), [("shout", "HI"), ("whisper", "hi")])
async def test_a_tool_that_was_found_can_be_called(name: str, result: str) -> None:
    call = ToolCallPart("1", name, '{"text": "Hi"}')
    with installed("exampleapp"):
        answer = await toolbox().call(call, Context(), timeout=5, max_chars=100)
    assert answer == ToolResultPart("1", name, result)


def test_a_broken_module_of_tools_stops_the_start() -> None:
    with (
        pytest.raises(ZeroDivisionError, match="the module is broken"),
        installed("brokenapp"),
    ):
        pytest.fail("it started")


def test_two_tools_of_one_name_fail_and_both_are_named() -> None:
    told = (
        r"streaming\.tools\.builtin\.calculator\.calculator and "
        r"tests\.tools\.rivalapp\.agent_tools\.abacus"
    )
    with pytest.raises(ImproperlyConfigured, match=told), installed("rivalapp"):
        pytest.fail("it started")


@pytest.mark.usefixtures("transactional_db")
async def test_a_sync_tool_leaves_no_connection_behind() -> None:
    used: list[BaseDatabaseWrapper] = []

    @tool
    def query() -> bool:
        """Use the database, as a tool with models does."""
        used.append(connections["default"])
        connections["default"].ensure_connection()
        return used[0].connection is not None

    in_loop = in_thread(query)
    assert await in_loop.call("", Context()) == "true"
    assert used[0].connection is None
