"""The project's login, beside the app below a prefix."""

from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import include, path


def log_in(request: HttpRequest) -> HttpResponse:
    """Log a member in, or return a page with a token."""
    if request.method != "POST":
        return HttpResponse(get_token(request))
    member = authenticate(request, **request.POST.dict())
    if member is None:
        return HttpResponse(status=400)
    login(request, member)
    return HttpResponse(get_token(request))


def log_out(request: HttpRequest) -> HttpResponse:
    """Log the member out."""
    logout(request)
    return HttpResponse()


urlpatterns = [
    path("login/", log_in, name="login"),
    path("logout/", log_out),
    path("agents/", include("streaming.urls")),
]
