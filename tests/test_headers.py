"""The security headers of every page, and of the responses of errors."""

import re
from collections.abc import Mapping

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.test import Client, RequestFactory, override_settings
from django.urls import path

from agentsite import content_security
from agentsite.content_security import nonce_of
from agentsite.middleware import PagePolicyMiddleware
from agentsite.urls import urlpatterns as site_urls
from tests.client import API

pytestmark = pytest.mark.django_db

PAGES = {
    "the page": ("/", 200),
    "the admin": ("/admin/", 200),
    "a list": ("/admin/streaming/run/", 200),
    "a form": ("/admin/auth/user/add/", 200),
    "a redirect": ("/admin", 302),
    "no page": ("/admin/none/", 404),
    "no object": ("/admin/streaming/run/none/change/", 302),
}


@pytest.fixture
def user(client: Client) -> Client:
    """A browser in which a superuser is logged in."""
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_all_security_headers(user: Client, name: str) -> None:
    url, status = PAGES[name]
    response = user.get(url)
    assert response.status_code == status
    check(response.headers)


def test_the_login_has_all_security_headers(client: Client) -> None:
    response = client.get("/admin/login/")
    assert response.status_code == 200
    check(response.headers)


def check(headers: Mapping[str, str]) -> None:
    """Check the headers of a page."""
    found = dict(headers.items())
    policy = found["Content-Security-Policy"]
    for part in (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ):
        assert part in policy
    assert "unsafe" not in policy
    assert re.search(r"form-action '(self|none)'", policy)
    assert found["X-Frame-Options"] == "DENY"
    assert found["X-Content-Type-Options"] == "nosniff"
    assert found["Referrer-Policy"] == "same-origin"
    assert found["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in found["Permissions-Policy"]


def test_a_forged_form_is_refused_with_the_same_headers() -> None:
    response = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "x"})
    assert response.status_code == 403
    check(response.headers)


@pytest.mark.parametrize("path", [f"{API}/metadata", "/none", "/health", "/a/b.html"])
def test_the_type_of_json_is_not_guessed(client: Client, path: str) -> None:
    response = client.get(path)
    assert response["Content-Type"] == "application/json"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "private, no-store"


def inline(request: HttpRequest) -> HttpResponse:
    """Return a page of a project's own, with an inline script."""
    template = Template('<script nonce="{{ csp_nonce }}">1</script>')
    return HttpResponse(template.render(RequestContext(request)))


def plain(request: HttpRequest) -> HttpResponse:
    """Return a page without a nonce."""
    return HttpResponse("Hallo")


def strict(request: HttpRequest) -> HttpResponse:
    """Return a page with a policy of its own."""
    return HttpResponse(headers={content_security.HEADER: "default-src 'none'"})


urlpatterns = [
    path("inline", inline),
    path("plain", plain),
    path("strict", strict),
    *site_urls,
]


@override_settings(ROOT_URLCONF=__name__)
def test_a_template_reads_the_nonce_of_its_response(client: Client) -> None:
    nonces = set()
    for _ in range(2):
        response = client.get("/inline")
        [nonce] = re.findall(r'nonce="([\w-]{22})"', response.text)
        policy = response[content_security.HEADER]
        assert f"script-src 'self' 'nonce-{nonce}'" in policy
        assert f"style-src 'self' 'nonce-{nonce}'" in policy
        nonces.add(nonce)
    assert len(nonces) == 2
    assert "nonce" not in client.get("/plain")[content_security.HEADER]


@override_settings(ROOT_URLCONF=__name__)
def test_the_policy_of_a_view_is_kept(client: Client) -> None:
    assert client.get("/strict")[content_security.HEADER] == "default-src 'none'"


@pytest.mark.parametrize(
    ("status", "is_sent"), [(500, False), (404, False), (200, True)]
)
def test_djangos_pages_of_errors_work_with_debug(status: int, is_sent: bool) -> None:
    middleware = PagePolicyMiddleware(lambda request: HttpResponse(status=status))
    request = RequestFactory().get("/")
    nonce_of(request)
    with override_settings(DEBUG=True):
        response = middleware(request)
    assert isinstance(response, HttpResponse)
    assert response.has_header(content_security.HEADER) is is_sent


# Requests of attackers


@pytest.mark.parametrize(
    "url", ["//evil.example/", "/\\evil.example", "//evil.example/admin", "/%2F/evil.x"]
)
def test_no_redirect_leads_to_another_site(user: Client, url: str) -> None:
    for method in (user.get, user.post):
        response = method(url, follow=False)
        location = response.headers.get("Location", "/")
        assert re.match(r"/(?![/\\])", location), location


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)"]
)
def test_a_login_leads_to_no_other_site(user: Client, target: str) -> None:
    response = user.get("/admin/login/", {"next": target})
    assert response["Location"] == "/admin/"
    client = Client()
    page = client.get("/admin/login/", {"next": target}).text
    assert f'action="{target}' not in page


@pytest.mark.parametrize("path", ["/", "/admin/", f"{API}/metadata", "/favicon.ico"])
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "a b", ""])
def test_another_host_is_refused(client: Client, path: str, host: str) -> None:
    response = client.get(path, headers={"host": host, "x-forwarded-host": "localhost"})
    if host:
        assert response.status_code == 400
        assert "evil" not in response.text


def test_nothing_is_deleted_or_cancelled_by_get(user: Client) -> None:
    for action in ("cancel_runs", "delete_selected"):
        query = {"action": action, "_selected_action": "1", "post": "yes"}
        response = user.get("/admin/streaming/run/", query)
        assert response.status_code == 302  # unknown filters are dropped
    assert user.get("/admin/logout/").status_code == 405
