"""The URLs of the app."""

from django.urls import path, re_path

from streaming.api import agent, conversations, errors, pages, runs, selftest, status

api = "api/v1/agent"

urlpatterns = [
    path("", pages.index, name="index"),
    path("favicon.ico", pages.favicon, name="favicon"),
    path("health", status.health, name="health"),
    path("ready", status.ready, name="ready"),
    path(f"{api}/metadata", agent.metadata, name="metadata"),
    path(f"{api}/run", agent.run, name="run"),
    path(f"{api}/stream", agent.stream, name="stream"),
    path(f"{api}/runs/<str:run_id>", runs.detail, name="run-detail"),
    path(f"{api}/runs/<str:run_id>/events", runs.events, name="run-events"),
    path(f"{api}/runs/<str:run_id>/cancel", runs.cancel, name="run-cancel"),
    path(f"{api}/conversations", conversations.index, name="conversations"),
    path(
        f"{api}/conversations/<path:conversation_id>",
        conversations.detail,
        name="conversation-detail",
    ),
    path(f"{api}/selftest", selftest.selftest, name="selftest"),
    re_path(r"^(?P<path>[\s\S]*)$", errors.not_found, name="not-found"),
]
