"""The URLs of the app, to be included below any path of a project.

They have the namespace `streaming`, so that their names hide none of the project's.
Unknown paths below `api/` are answered in JSON; all others are the project's.
"""

from django.db import connections
from django.db.transaction import non_atomic_requests
from django.urls import path, re_path

from streaming.api import (
    agent,
    agent_pages,
    agents,
    branches,
    conversations,
    errors,
    metrics,
    pages,
    queues,
    runs,
    selftest,
    status,
)

app_name = "streaming"
api = "api/v1/agent"

urlpatterns = [
    path("", pages.index, name="index"),
    path("a/<str:name>/", agent_pages.agent, name="agent-page"),
    path("favicon.ico", pages.favicon, name="favicon"),
    path("health", status.health, name="health"),
    path("ready", status.ready, name="ready"),
    path("metrics", metrics.metrics, name="metrics"),
    path("api/v1/agents", agents.index, name="agents"),
    path(f"{api}/metadata", agent.metadata, name="metadata"),
    path(f"{api}/run", agent.run, name="run"),
    path(f"{api}/stream", agent.stream, name="stream"),
    path(f"{api}/runs/<str:run_id>", runs.detail, name="run-detail"),
    path(f"{api}/runs/<str:run_id>/events", runs.events, name="run-events"),
    path(f"{api}/runs/<str:run_id>/token", runs.token, name="run-token"),
    path(f"{api}/runs/<str:run_id>/input", runs.steer, name="run-input"),
    path(f"{api}/runs/<str:run_id>/cancel", runs.cancel, name="run-cancel"),
    path(f"{api}/conversations", conversations.index, name="conversations"),
    path(
        f"{api}/conversations/<path:conversation_id>",
        conversations.detail,
        name="conversation-detail",
    ),
    path(f"{api}/conversation", branches.rename, name="conversation"),
    path(f"{api}/conversation/head", branches.head, name="conversation-head"),
    path(f"{api}/conversation/fork", branches.fork, name="conversation-fork"),
    path(f"{api}/conversation/queue", queues.detail, name="conversation-queue"),
    path(f"{api}/selftest", selftest.selftest, name="selftest"),
    re_path(r"^api/", errors.not_found, name="not-found"),
]

# Each database function of the app is one transaction. Django refuses asynchronous
# views in a project with ATOMIC_REQUESTS, unless they opt out for each database.
for pattern in urlpatterns:
    for alias in connections:
        non_atomic_requests(using=alias)(pattern.callback)
