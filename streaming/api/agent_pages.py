"""The page of an agent, for callers that may use the agent."""

from asgiref.sync import sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import NoReverseMatch
from django.views.decorators.http import require_safe

from streaming.api.agents import select_agent
from streaming.api.pages import page_response
from streaming.api.schemas import OrgQuery, query
from streaming.auth.chain import authenticate
from streaming.auth.requests import complete_response, declare_input
from streaming.exceptions import AgentError

TEMPLATE = "streaming/agent_page.html"


@require_safe
async def agent(request: HttpRequest, name: str) -> HttpResponseBase:
    """Return the page of an agent; a caller without credentials is sent to the login.

    Raises `Http404` for an unknown agent, and `PermissionDenied` if the caller may not
    use it: the project has pages for both.
    """
    declare_input(request, query(OrgQuery))
    try:
        found = await select_agent(name, await authenticate(request))
    except AgentError as error:
        match error.status:
            case 400:
                raise Http404(error.message) from None
            case 401:
                return redirect_to_login(request.get_full_path())
            case 403:
                raise PermissionDenied(error.message) from None
        return HttpResponse(error.message, "text/plain", error.status)
    context = {
        "name": found.name,
        "title": found.title or found.name,
        "intro": found.description,
        "questions": found.opening_questions,
        "sign_in_url": _sign_in_url(request),
    }
    # In a thread: context processors of the project may use the database.
    page = await sync_to_async(render_to_string)(TEMPLATE, context, request)
    response = page_response(page)
    # The page sends several requests at once: all have an anonymous caller's cookie.
    complete_response(request, response)
    return response


def _sign_in_url(request: HttpRequest) -> str:
    """Return the URL of the login; empty: the project has no such page."""
    try:
        return redirect_to_login(request.get_full_path()).url
    except NoReverseMatch:
        return ""
