"""The JavaScript modules of the embedded chat, as a browser requests them."""

import posixpath
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urljoin

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.templatetags.static import static

#: The module of the element `<agent-chat>`.
CHAT = "streaming/chat/agent-chat.js"
#: Optional libraries that npm installs, by name; the chat works without them.
LIBRARIES = {
    name: f"streaming/libraries/{name}.js" for name in ("marked", "remend", "highlight")
}
#: A library that is loaded later, if at all.
LATE = "highlight"

#: The module of the demo page, which imports all others.
PAGE = "streaming/page/page.js"
#: The wheel's modules have a comment before the name: see hatch_build.py.
_IMPORT = re.compile(
    r'^(?:import|export)\b(?:[^"]*? from)? (?:/\*\*/ )?"(\.[^"]+)"', re.MULTILINE
)
#: Dynamic imports, and types of other modules in comments.
_DYNAMIC = re.compile(r'\bimport\(\s*"(\.[^"]+)"\)')


def module_urls(name: str) -> list[str]:
    """Return the URLs of a module and of all that it imports, directly or not.

    A page preloads them in one round of requests. Without the list, a browser discovers
    imports level by level, at the cost of one round trip for each level.
    """
    url = static(name)
    served = posixpath.join(posixpath.dirname(name), posixpath.basename(url))
    start = url.removesuffix(served)
    return [urljoin(start, module) for module in _graph(served)]


def import_map() -> dict[str, str]:
    """Return the hashed URLs of modules by their plain ones; empty without hashes.

    Modules import each other by plain names. A storage that adds hashes to the names
    keeps files with plain names too, but these may be cached beyond a new version.
    """
    urls = {name: static(name) for name in _all_modules()}
    plain = {urljoin(url, posixpath.basename(name)): url for name, url in urls.items()}
    return {name: url for name, url in plain.items() if url != name}


def library_urls() -> Mapping[str, str]:
    """Return the URLs of the installed libraries."""
    found = (each for each in LIBRARIES.items() if finders.find(each[1]))
    return {name: static(file) for name, file in found}


@cache
def _graph(name: str) -> list[str]:
    """Return the names of a module and of its imports.

    A storage that adds hashes to names may rewrite imports or leave them as they are:
    the text of the served file has the names that a browser requests.
    """
    found = {name: None}
    unread = [name]
    while unread:
        module = unread.pop()
        directory = posixpath.dirname(module)
        names = [
            posixpath.normpath(posixpath.join(directory, imported))
            for imported in _IMPORT.findall(_read(module))
        ]
        unread += [each for each in names if each not in found]
        found |= dict.fromkeys(names)
    return list(found)


@cache
def _all_modules() -> list[str]:
    """Return the names of all modules that pages load, at once or later."""
    found = dict.fromkeys((CHAT, PAGE))
    unread = [*found]
    while unread:
        module = unread.pop()
        text = _read(module)
        for imported in (*_IMPORT.findall(text), *_DYNAMIC.findall(text)):
            joined = posixpath.join(posixpath.dirname(module), imported)
            name = posixpath.normpath(joined)
            if name not in found:
                found[name] = None
                unread.append(name)
    return list(found)


def _read(name: str) -> str:
    """Return the text of a served file: a source file, or a stored one with a hash."""
    if path := finders.find(name):
        return Path(path).read_text()
    with staticfiles_storage.open(name) as file:
        content: bytes = file.read()
    return content.decode()
