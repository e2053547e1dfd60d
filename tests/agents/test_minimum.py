"""The first example of docs/agents.md is a complete agent, as it stands there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings

from streaming.models import Run
from streaming.testing.provider import StandInProvider
from tests import chat
from tests.agents.conftest import InstallApp
from tests.client import Api

PAGE = Path(__file__).resolve().parents[2] / "docs" / "agents.md"
[AGENTS, *_] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
MODELS = """
    from django.conf import settings
    from django.db import models


    class Order(models.Model):
        number = models.IntegerField()
        customer = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
        status = models.CharField(max_length=20)
"""
URLS = """
    from django.urls import include, path

    urlpatterns = [path("agents/", include("streaming.urls"))]
"""
API = "/agents/api/v1/agent"


@pytest.fixture
def shop(
    transactional_db: None,  # its tables are emptied after the app is gone
    install: InstallApp,
    overrides: list[override_settings],
    model: None,
    callers: None,
) -> Iterator[None]:
    """A project whose app has exactly the documented module of agents."""
    install(agents=AGENTS, models=MODELS, urls=URLS)
    urls = override_settings(ROOT_URLCONF="shop.urls")
    urls.enable()
    overrides.append(urls)
    order: Any = apps.get_model("shop", "Order")  # type: ignore[misc]  # made here
    with connection.schema_editor() as editor:
        editor.create_model(order)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(order)


@pytest.mark.usefixtures("shop")
async def test_the_minimum_is_a_complete_agent(
    api: Api, upstream: StandInProvider
) -> None:
    alice = await User.objects.acreate_user("alice")
    bob = await User.objects.acreate_user("bob")
    order: Any = apps.get_model("shop", "Order")  # type: ignore[misc]  # made here
    await order._default_manager.acreate(number=7, customer=alice, status="sent")
    for user, result in ((alice, "sent"), (bob, "The tool failed: DoesNotExist.")):
        upstream.reply(
            chat.tool_calls(("1", "order_status", {"number": 7})), chat.answer("Done")
        )
        body = {"input": "Where is my order?", "agent": "support"}
        response = await api.post(f"{API}/stream", body, x_user=str(user.pk))
        [frame] = [f for f in response.frames if f.event == "tool_result"]
        assert frame.data["tool_call"]["result"] == result
        assert response.events[-2:] == ["complete", "done"]
    prompt = upstream.requests[0].json["messages"][0]["content"]
    assert prompt == "You help customers of Acme with their orders."
    stored = Run.objects.order_by("created_at").values_list("agent", "user", "status")
    assert [row async for row in stored] == [
        ("support", str(alice.pk), "completed"),
        ("support", str(bob.pk), "completed"),
    ]
    upstream.reply(chat.answer("Hello"))
    default = await api.post(f"{API}/run", {"input": "Hi"}, x_user=str(alice.pk))
    assert default.json["agent"] == "support"
    page = await api.get("/agents/a/support/", x_user=str(alice.pk))
    assert page.status == 200
