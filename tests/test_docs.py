"""The documentation agrees with the code."""

import ast
import re
import subprocess
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from django.conf import global_settings
from django.test import AsyncClient
from django.urls import URLPattern

from streaming import urls
from streaming.events import BaseEvent, Event
from streaming.exceptions import AgentError

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
API = (DOCS / "api.md").read_text()
JAVASCRIPT = (DOCS / "javascript.md").read_text()
CLIENT = ROOT / "static" / "streaming" / "client"
README_LINES = 200
SCREENSHOT_BYTES = 200_000

CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
NAME = re.compile(r"`([a-z_]+)`")


def markdown_files() -> list[Path]:
    """Every Markdown file that belongs to the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().splitlines()]


def anchors(text: str) -> set[str]:
    """Return the anchors that a Markdown page offers, by GitHub's rule."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(CODE.sub("", text))
    }


def broken_links(page: Path) -> Iterator[str]:
    """Yield the relative links of a page that lead nowhere."""
    for link in LINK.findall(CODE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        exists = target.exists()
        if not exists or (anchor and anchor not in anchors(target.read_text())):
            yield link


@pytest.mark.parametrize("page", markdown_files(), ids=lambda page: page.name)
def test_every_relative_link_resolves(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` c\n[1](#a-b-c) [2](#d) [3](none.md) [4](page.md#a-b-c)")
    assert list(broken_links(page)) == ["#d", "none.md"]


def test_the_index_lists_every_page_of_the_documentation() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / link).resolve() for link in LINK.findall(index.read_text())}
    assert set(DOCS.rglob("*.md")) - linked == {index}


def test_the_readme_is_a_front_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


@pytest.mark.parametrize("image", sorted(DOCS.rglob("*.png")), ids=lambda p: p.name)
def test_a_screenshot_is_a_small_png(image: Path) -> None:
    assert image.read_bytes().startswith(b"\x89PNG")
    assert image.stat().st_size < SCREENSHOT_BYTES


@pytest.mark.parametrize("page", markdown_files(), ids=lambda page: page.name)
def test_every_python_example_can_be_parsed(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
        ast.parse(block)


def test_every_setting_that_a_page_names_is_in_the_reference() -> None:
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"`([A-Z]+_[A-Z_]+)(?:=\w+)?`", page.read_text())
    }
    reference = (DOCS / "configuration.md").read_text()
    unknown = {name for name in named if f"`{name}`" not in reference}
    assert {name for name in unknown if not hasattr(global_settings, name)} == set()


@pytest.mark.parametrize(
    "path",
    sorted(
        set(
            re.findall(r"`(streaming/[\w/.]+)`", (ROOT / "ARCHITECTURE.md").read_text())
        )
    ),
)
def test_every_file_that_the_architecture_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


def documented_endpoints() -> dict[str, set[str]]:
    """Return the methods of each path in the table of endpoints."""
    methods: dict[str, set[str]] = {}
    for method, path, rest in re.findall(r"^\| `([A-Z]+) (/\S*)` \| (.*)$", API, re.M):
        also = re.findall(r"also `([A-Z]+)`", rest)
        methods.setdefault(path, set()).update([method, *also])
    return methods


def routes() -> set[str]:
    """Return the paths of the URL configuration, without that of unknown ones."""
    patterns: list[URLPattern] = urls.urlpatterns
    return {
        "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern))
        for pattern in patterns
        if pattern.name != "not-found"
    }


def test_every_route_is_documented_and_no_other() -> None:
    assert documented_endpoints().keys() == routes()


@pytest.mark.parametrize(("path", "methods"), documented_endpoints().items())
async def test_every_method_is_documented_and_no_other(
    path: str, methods: set[str]
) -> None:
    address = re.sub(r"\{\w+\}", "x", path)
    response = await AsyncClient().generic("TRACE", address)
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) - {"HEAD"} == methods


def structs_of(field_type: object) -> Iterator[type[msgspec.Struct]]:
    """Yield the structs in the type of a field."""
    options = get_args(field_type) if _is_union(field_type) else (field_type,)
    for option in options:
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            yield option


def _is_union(field_type: object) -> bool:
    return get_origin(field_type) in (Union, types.UnionType)


def fields_of(event: type[BaseEvent]) -> tuple[set[str], set[str]]:
    """Return the fields of an event and of the struct in it: required, and all."""
    common = {field.encode_name for field in msgspec.structs.fields(BaseEvent)}
    own = {f.encode_name for f in msgspec.structs.fields(event)} - common
    hints = get_type_hints(event)
    inner = [
        field
        for name in own
        for struct in structs_of(hints[name])
        for field in msgspec.structs.fields(struct)
    ]
    required = {field.encode_name for field in inner if field.required}
    return own | required, own | {field.encode_name for field in inner}


@pytest.mark.parametrize("event", get_args(Event), ids=lambda event: event.__name__)
def test_every_event_is_documented_with_its_fields(event: type[BaseEvent]) -> None:
    tag = event.__struct_config__.tag
    [table] = re.findall(r"^\| event \| when .*?\n\n", API, re.MULTILINE | re.DOTALL)
    [fields] = re.findall(rf"^\| `{tag}` \| [^|]+ \| (.*?) ?\|$", table, re.MULTILINE)
    required, possible = fields_of(event)
    assert required <= set(NAME.findall(fields)) <= possible


def test_no_other_event_is_documented() -> None:
    [table] = re.findall(r"^\| event \| when .*?\n\n", API, re.MULTILINE | re.DOTALL)
    documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert documented == sorted(documented, key=documented.index)
    assert set(documented) == {e.__struct_config__.tag for e in get_args(Event)}


def kinds(kind: type[AgentError]) -> Iterator[type[AgentError]]:
    """Yield all errors that a client can receive."""
    for sub in kind.__subclasses__():
        if sub.__module__ == AgentError.__module__:
            yield sub
            yield from kinds(sub)


def test_every_error_is_documented_with_its_status() -> None:
    documented = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", API, re.MULTILINE)
    expected = {(str(kind.status), kind.code) for kind in kinds(AgentError)}
    assert len(documented) == len(set(documented))
    assert set(documented) == expected


def members(source: str, name: str) -> dict[str, str]:
    """Return the public members of a class in JavaScript, with comment and code."""
    [body] = re.findall(rf"^(?:export )?class {name} .*?^}}$", source, re.M | re.S)
    pattern = r"^  (?:async )?(?:get )?(\w+)(?:\(.*\) \{| =|;)$"
    found: dict[str, str] = {}
    comment = ""
    for part in body.split("\n\n"):
        for member in re.findall(pattern, part, re.MULTILINE):
            found[member] = comment + part
    return {name: text for name, text in found.items() if name != "constructor"}


def options_of(source: str, typedef: str) -> set[str]:
    """Return the optional properties of a JSDoc typedef."""
    [body] = re.findall(rf"@typedef {{object}} {typedef}$(.*?)\*/", source, re.M | re.S)
    return set(re.findall(r"\[(\w+)\]", body))


CLIENT_SOURCE = (CLIENT / "agent-client.js").read_text()
STREAM_OPTIONS = options_of((CLIENT / "agent-types.js").read_text(), "StreamOptions")
CALL = re.compile(r"^\| `client\.(conversations\.)?(\w+)\((.*?)\)`", re.MULTILINE)


def test_every_call_of_the_client_is_documented_and_no_other() -> None:
    calls = CALL.findall(JAVASCRIPT)
    own = {name for group, name, _ in calls if not group}
    conversations = {name for group, name, _ in calls if group}
    assert own == members(CLIENT_SOURCE, "AgentClient").keys() - {"conversations"}
    assert conversations == members(CLIENT_SOURCE, "Conversations").keys()


@pytest.mark.parametrize(("group", "name", "arguments"), CALL.findall(JAVASCRIPT))
def test_every_documented_option_of_a_call_exists(
    group: str, name: str, arguments: str
) -> None:
    code = members(CLIENT_SOURCE, "Conversations" if group else "AgentClient")[name]
    known = set(re.findall(r"\w+", code))
    if "StreamOptions" in code:
        known |= STREAM_OPTIONS
    assert set(re.findall(r"\w+", arguments)) <= known


def test_every_option_of_the_constructor_is_documented() -> None:
    [documented] = re.findall(r"\| `new AgentClient.*?\n\n", JAVASCRIPT, re.DOTALL)
    options = set(re.findall(r"\[options\.(\w+)\]", CLIENT_SOURCE))
    assert set(re.findall(r"^\| `(\w+)` \|", documented, re.MULTILINE)) == options


def test_every_member_and_option_of_a_stream_is_documented() -> None:
    source = (CLIENT / "agent-stream.js").read_text()
    tables = JAVASCRIPT.partition("## Streams")[2].partition("## Errors")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", tables, re.MULTILINE)
    documented = set(re.findall(r"`(\w+)(?:\(\))?`", " ".join(first_cells)))
    assert documented == (
        members(source, "AgentStream").keys() | STREAM_OPTIONS | {"idempotencyKey"}
    )


def test_every_property_of_a_client_error_is_documented() -> None:
    source = (CLIENT / "agent-http.js").read_text()
    [sentence] = re.findall(r"An `AgentError` has (.*?)\.", JAVASCRIPT)
    properties = set(re.findall(r"^    this\.(\w+) =", source, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", sentence)) == properties | {"message"}
    own_codes = set(re.findall(r'code: "(\w+)"', source))
    assert own_codes <= set(NAME.findall(JAVASCRIPT))


def test_the_documentation_lists_the_files_of_the_client() -> None:
    modules = {path.name for path in CLIENT.iterdir()}
    assert set(re.findall(r"`([\w-]+\.js)`", JAVASCRIPT)) == modules
