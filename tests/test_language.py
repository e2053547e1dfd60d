"""The language of the code: figures that keep docstrings, comments and names plain."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_PRONOUNS_PER_1000_WORDS = 3
MAX_INTERROGATIVE_SHARE = 0.02
MIN_DOCUMENTED_SHARE = 0.9
#: A private helper of so few lines that is used once belongs inline.
SHORT_LINES = 4
#: Exceptions to that, as "path function", with the reason that the name is needed.
EXPLAINING_HELPERS: dict[str, str] = {
    # Passed to another function, which calls it.
    "streaming/api/schemas.py _only_place": "a validator",
    "streaming/api/schemas.py _without_nul": "a validator",
    "streaming/management/commands/runserver.py _forward_signal": "a signal handler",
    "streaming/auth/keys/directory.py _retrieve": "a future's callback",
    "streaming/event_log/database.py _commit_checkpoints": "runs in a database thread",
    "streaming/personal_data/erasure.py _revoke_keys": "runs in a database thread",
    "streaming/options.py _items": "a parser, beside `_flag`",
    "streaming/runs/maintenance.py _compaction_due": "runs in a database thread",
    "streaming/runs/service.py _is_full": "names the condition",
    "streaming/runs/service.py _lose_ownership": "called by the log, made before",
    "streaming/storage/batches.py _resolve_all": "called in the event loop's thread",
    "streaming/storage/database.py _call_each": "groups writes by its identity",
    "streaming/testing/provider.py _next_reply": "the default of a parameter",
    "streaming/testing/provider.py _send_held": "a task's callback",
    "streaming/testing/server.py _restore_ctrl_c": "runs in the child process",
    "streaming/server/path_prefix.py _redirect": "a coroutine: its caller is none",
    "streaming/server/static_files.py _forbid_sniffing": "called by ServeStatic",
    # Cached.
    "streaming/storage/sql.py _moment": "caches a conversion",
    # Names a step that is not plain from its expression.
    "streaming/server/body.py _announced_size": "tells it from the received size",
}
#: Places that a failure lists.
WORST = 30

PRONOUN = re.compile(
    r"\b(?:who|what|whoever|whatever|nobody|somebody)\b", re.IGNORECASE
)
INTERROGATIVE = re.compile(
    r"\s*(?:what|who|whether|how|why|when|where)\b", re.IGNORECASE
)
WORD = re.compile(r"[A-Za-z']+")
#: Comments for tools, not for readers.
DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|pragma|!)")

Function = ast.FunctionDef | ast.AsyncFunctionDef
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Text(NamedTuple):
    """A docstring, or the comments on consecutive lines."""

    place: str
    text: str


class Definition(NamedTuple):
    """A function or method, with the place of its first line."""

    path: str
    node: Function

    @property
    def place(self) -> str:
        """Return path, line and name."""
        return f"{self.path}:{self.node.lineno} {self.node.name}"

    @property
    def lines(self) -> int:
        """Return the number of lines, without decorators."""
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1


class Language:
    """The texts and names in the modules of some packages."""

    def __init__(self, root: Path, packages: Sequence[str]) -> None:
        self.texts: list[Text] = []
        self.functions: list[Definition] = []
        self._uses: Counter[str] = Counter()
        for package in packages:
            for file in sorted((root / package).rglob("*.py")):
                if "migrations" not in file.parts:
                    self._read(str(file.relative_to(root)), file.read_text())

    def _read(self, path: str, source: str) -> None:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, DOCUMENTED) and (doc := ast.get_docstring(node)):
                self.texts.append(Text(f"{path}:{node.body[0].lineno}", doc))
            if isinstance(node, Function):
                self.functions.append(Definition(path, node))
            elif isinstance(node, ast.Name):
                self._uses[node.id] += 1
            elif isinstance(node, ast.Attribute):
                self._uses[node.attr] += 1
        self.texts += comments(path, source)

    def pronouns(self) -> list[Text]:
        """Return the texts that contain one of the pronouns, the worst first."""
        found = [text for text in self.texts if PRONOUN.search(text.text)]
        return sorted(found, key=lambda text: -len(PRONOUN.findall(text.text)))

    def pronouns_per_1000_words(self) -> float:
        """Return the number of pronouns in 1,000 words of all texts."""
        found = sum(len(PRONOUN.findall(text.text)) for text in self.texts)
        return 1000 * found / sum(len(WORD.findall(text.text)) for text in self.texts)

    def interrogatives(self) -> list[Text]:
        """Return the texts that open with an interrogative."""
        return [text for text in self.texts if INTERROGATIVE.match(text.text)]

    def used_once(self) -> list[Definition]:
        """Return the private functions with a unique name that is used exactly once."""
        defined = Counter(function.node.name for function in self.functions)
        return [
            function
            for function in self.functions
            if re.match(r"_(?!_)", function.node.name)
            and defined[function.node.name] == self._uses[function.node.name] == 1
        ]

    def public(self) -> list[Definition]:
        """Return the functions whose names do not begin with an underscore."""
        return [f for f in self.functions if not f.node.name.startswith("_")]


def comments(path: str, source: str) -> Iterator[Text]:
    """Yield the comments of a module; those on consecutive lines are one."""
    first, last, words = 0, -1, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or DIRECTIVE.match(token.string):
            continue
        line = token.start[0]
        if words and line != last + 1:
            yield Text(f"{path}:{first}", " ".join(words))
            words = []
        first, last = (first if words else line), line
        words.append(token.string.lstrip("#: ").strip())
    if words:
        yield Text(f"{path}:{first}", " ".join(words))


def listing(texts: Sequence[Text]) -> str:
    """Return some of the texts as lines, each shortened."""
    shown = [f"{place}: {' '.join(text.split())[:90]}" for place, text in texts[:WORST]]
    return "\n".join([f"{len(texts)} in all; the first:", *shown])


@pytest.fixture(scope="module")
def language() -> Language:
    return Language(ROOT, ["streaming", "agentsite"])


def test_sentences_have_things_as_subjects(language: Language) -> None:
    found = language.pronouns_per_1000_words()
    assert found <= MAX_PRONOUNS_PER_1000_WORDS, listing(language.pronouns())


def test_texts_open_with_a_statement(language: Language) -> None:
    found = language.interrogatives()
    share = len(found) / len(language.texts)
    assert share <= MAX_INTERROGATIVE_SHARE, listing(found)


def test_short_helpers_are_used_more_than_once(language: Language) -> None:
    once = language.used_once()
    print(f"{len(once)} of {len(language.functions)} functions are helpers used once")
    short = [f for f in once if f.lines <= SHORT_LINES]
    short_names = {f"{f.path} {f.node.name}": f.place for f in short}
    assert EXPLAINING_HELPERS.keys() <= short_names.keys(), "an exception is obsolete"
    unexplained = short_names.keys() - EXPLAINING_HELPERS.keys()
    places = "\n".join(sorted(short_names[name] for name in unexplained))
    assert unexplained == set(), places


def test_public_functions_have_docstrings(language: Language) -> None:
    public = language.public()
    bare = [f.place for f in public if ast.get_docstring(f.node) is None]
    share = 1 - len(bare) / len(public)
    assert share >= MIN_DOCUMENTED_SHARE, "\n".join(bare)


SAMPLE = '''"""What a module does."""

# Whoever reads this
# reads one comment.
X = 1  #: How many.
Y = 2  # noqa: E501


def public():
    # Plain.
    return _once()


def _once():
    return _often() + _often()


def _often():
    """Return somebody's one."""
    return 1
'''


def test_the_figures_of_a_sample(tmp_path: Path) -> None:
    (tmp_path / "app" / "migrations").mkdir(parents=True)
    (tmp_path / "app" / "module.py").write_text(SAMPLE)
    (tmp_path / "app" / "migrations" / "first.py").write_text(SAMPLE)
    sample = Language(tmp_path, ["app"])
    words = 4 + 6 + 2 + 1 + 3
    assert sample.pronouns_per_1000_words() == pytest.approx(3000 / words, abs=0.1)
    assert [text.place for text in sample.pronouns()] == [
        "app/module.py:1",
        "app/module.py:19",
        "app/module.py:3",
    ]
    assert [text.place for text in sample.interrogatives()] == ["app/module.py:1"]
    assert [f.place for f in sample.used_once()] == ["app/module.py:14 _once"]
    assert [f.node.name for f in sample.public()] == ["public"]
