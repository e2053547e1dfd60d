"""The tags that embed the chat, as a host project's templates use them."""

import html
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.http import HttpRequest
from django.template import Context, Template, TemplateSyntaxError
from django.template.loader import render_to_string
from django.test import RequestFactory, override_settings

from streaming import assets
from tests.conftest import ChangeSettings
from tests.installed import static_directory

TAG = "{% load streaming %}"
ELEMENT = re.compile(r"<agent-chat(.*?)></agent-chat>", re.DOTALL)
ATTRIBUTE = re.compile(r'([\w-]+)="(.*?)"', re.DOTALL)


def render(template: str, **values: object) -> str:
    return Template(TAG + template).render(Context(values))


@pytest.fixture
def support(agent_settings: ChangeSettings) -> None:
    """The project's agent has the name support."""
    agent_settings(agent_name="support")


def attributes(page: str) -> dict[str, str]:
    [written] = ELEMENT.findall(page)
    return {name: html.unescape(value) for name, value in ATTRIBUTE.findall(written)}


@pytest.mark.usefixtures("support")
def test_the_element_has_the_options_as_attributes() -> None:
    hostile = '"><script>alert(1)</script>'
    page = render(
        '{% agent_chat "support" heading=hostile context=facts questions=questions '
        'details=True history=False layout="floating" intro="" sign_in="/login/" %}',
        hostile=hostile,
        facts={"order": 42, "name": "Ann"},
        questions=["Where is it?", {"title": "Returns", "prompt": "How?"}],
    )
    assert "<script>" not in page
    found = attributes(page)
    assert found["agent"] == "support"
    assert found["api"] == "/api/v1/agent/"
    assert found["heading"] == hostile
    assert json.loads(found["context"]) == {"order": "42", "name": "Ann"}
    assert json.loads(found["questions"])[1] == {"title": "Returns", "prompt": "How?"}
    assert (found["details"], found["history"]) == ("", "off")
    assert found["sign-in"] == "/login/"
    assert "intro" not in found


@pytest.mark.usefixtures("support")
def test_a_chat_without_a_name_is_that_of_the_default_agent() -> None:
    assert "agent" not in attributes(render('{% agent_chat layout="page" %}'))
    assert "agent" not in attributes(render("{% agent_chat name %}", name=None))
    named = attributes(render("{% agent_chat name %}", name="support"))
    assert named["agent"] == "support"


@pytest.mark.usefixtures("support")
@pytest.mark.parametrize("name", ["", "'support'"])
def test_the_heading_of_a_chat_is_the_name_of_its_agent(name: str) -> None:
    assert attributes(render(f"{{% agent_chat {name} %}}"))["heading"] == "support"
    own = attributes(render(f"{{% agent_chat {name} heading='Help' %}}"))
    assert own["heading"] == "Help"


@pytest.mark.usefixtures("support")
@pytest.mark.parametrize(
    ("name", "hint"),
    [("suport", "Did you mean support?"), ("x", "Known: support.")],
)
def test_an_unknown_agent_is_refused_with_a_sentence(name: str, hint: str) -> None:
    sentence = f"{{% agent_chat %}}: there is no agent {name!r}. {hint}"
    with pytest.raises(TemplateSyntaxError, match=re.escape(sentence)):
        render("{% agent_chat name %}", name=name)


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{% agent_chat layuot='page' %}", "no option layuot. Did you mean layout?"),
        ("{% agent_chat x=1 %}", "there is no option x. Known: context, details"),
        ("{% agent_chat 'a' 'b' %}", "expected name=value, not 'b'"),
        ("{% agent_chat layout='wide' %}", "layout is 'wide'; expected inline, fl"),
        ("{% agent_chat theme='blue' %}", "theme is 'blue'; expected light, dark"),
    ],
)
def test_a_wrong_option_is_refused_with_a_sentence(
    template: str, sentence: str
) -> None:
    with pytest.raises(TemplateSyntaxError, match=re.escape(sentence)):
        render(template)


@override_settings(ROOT_URLCONF="tests.mounted_urls")
def test_the_api_is_found_below_any_path() -> None:
    assert attributes(render("{% agent_chat %}"))["api"] == "/agents/api/v1/agent/"


@override_settings(ROOT_URLCONF="tests.no_urls")
def test_a_project_without_the_urls_is_told_what_to_add(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = type("no_urls", (), {"urlpatterns": [], "__name__": "tests.no_urls"})
    monkeypatch.setitem(__import__("sys").modules, "tests.no_urls", module)
    with pytest.raises(TemplateSyntaxError, match="include\\(.streaming.urls.\\)"):
        render("{% agent_chat %}")


def test_the_modules_are_named_once() -> None:
    page = render("{% agent_chat_script %}{% agent_chat id='a' %}{% agent_chat %}")
    assert page.count("<script") == 1
    links = re.findall(r'<link rel="modulepreload" href="([^"]+)">', page)
    assert len(links) == len(set(links)) > 30
    assert "/static/libraries/highlight.js" not in links


def request_of_a_page() -> HttpRequest:
    return RequestFactory().get("/shop/")


def test_the_csrf_token_is_read_from_the_cookie() -> None:
    request = request_of_a_page()
    found = attributes(render("{% agent_chat %}", request=request))
    assert found["csrf-cookie"] == "csrftoken"
    assert not {"csrf-token", "csrf-header"} & found.keys()
    assert request.META["CSRF_COOKIE_NEEDS_UPDATE"]  # the response sets the cookie


@pytest.mark.parametrize("setting", ["CSRF_USE_SESSIONS", "CSRF_COOKIE_HTTPONLY"])
def test_the_csrf_token_is_written_where_scripts_cannot_read_it(setting: str) -> None:
    changed: dict[str, Any] = {setting: True, "CSRF_HEADER_NAME": "HTTP_X_SHOP_TOKEN"}
    with override_settings(**changed):
        found = attributes(render("{% agent_chat %}", request=request_of_a_page()))
    assert len(found["csrf-token"]) == 64
    assert found["csrf-header"] == "X-Shop-Token"
    assert "csrf-cookie" not in found


class UnevaluatedNonce:
    """Django's nonce: it is false until it has been written."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "n0nce"


@pytest.mark.parametrize("place", ["csp_nonce", "_csp_nonce", "context"])
def test_every_script_and_link_has_the_nonce_of_the_page(place: str) -> None:
    request = request_of_a_page()
    values: dict[str, object] = {"request": request}
    if place == "context":
        values["csp_nonce"] = UnevaluatedNonce()
    else:
        setattr(request, place, UnevaluatedNonce())
    page = render("{% agent_chat %}", **values)
    tags = re.findall(r"<(?:script|link)[^>]*>", page)
    assert tags
    assert all(' nonce="n0nce"' in tag for tag in tags)
    assert "nonce" not in render("{% agent_chat %}", request=request_of_a_page())


def test_content_of_the_element_comes_from_a_template() -> None:
    page = render("{% agent_chat slots='streaming/no_script.html' %}")
    assert re.search(r"<agent-chat[^>]*><noscript>.*</noscript>\s*</agent-chat>", page)


@pytest.mark.usefixtures("support")
def test_an_agent_has_a_page_of_its_own() -> None:
    page = render_to_string(
        "streaming/agent_page.html",
        {"name": "support", "title": "A & B", "questions": ["Why?"], "lang": "de"},
    )
    assert '<html lang="de">' in page
    assert "<title>A &amp; B</title>" in page
    found = attributes(page)
    assert (found["agent"], found["layout"]) == ("support", "page")
    assert found["heading"] == "A & B"
    assert json.loads(found["questions"]) == ["Why?"]
    assert page.count("<script") == 1


@pytest.fixture
def collected(tmp_path: Path) -> Iterator[Path]:
    """The files that a storage with hashes has collected."""
    storage = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    changed: dict[str, Any] = {
        "STORAGES": {"staticfiles": {"BACKEND": storage}},
        "STATIC_ROOT": str(tmp_path),
        "STATICFILES_DIRS": [static_directory()],
        "INSTALLED_APPS": ["streaming", "django.contrib.staticfiles"],
    }
    with override_settings(**changed):
        call_command("collectstatic", interactive=False, verbosity=0)
        yield tmp_path


def test_the_modules_of_a_storage_with_hashes_are_named_as_they_are_requested(
    collected: Path,
) -> None:
    first, *others = assets.module_urls(assets.CHAT)
    assert re.fullmatch(r"/static/streaming/chat/agent-chat\.\w{12}\.js", first)
    requested: set[str] = set()
    unread = [first]
    while unread:
        url = unread.pop()
        text = (collected / url.removeprefix("/static/")).read_text()
        found = {urljoin(url, name) for name in assets._IMPORT.findall(text)}
        unread += found - requested
        requested |= found
    assert set(others) == requested
    for url in requested:
        source = re.sub(r"\.\w{12}\.js$", ".js", url.removeprefix("/static/"))
        assert finders.find(posixpath.normpath(source))
