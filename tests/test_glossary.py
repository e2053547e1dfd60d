"""The code that the glossary names exists."""

import pkgutil
import re
from pathlib import Path

import pytest

GLOSSARY = Path(__file__).resolve().parent.parent / "docs" / "glossary.md"
NAMES = re.findall(r"`(streaming\.[\w.]+)`", GLOSSARY.read_text())
TERMS = re.findall(r"^\| \*\*(.+?)\*\* \|", GLOSSARY.read_text(), re.MULTILINE)


def test_each_term_is_explained_once() -> None:
    assert len(TERMS) == len(set(TERMS)) > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_glossary_names_existing_code(name: str) -> None:
    assert pkgutil.resolve_name(name)
