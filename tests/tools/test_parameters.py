"""The parameters of a function, as JSON Schema and from a model's JSON."""

from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import Field

from streaming.principals import Principal
from streaming.tools import Context, ToolError, tool


@tool
def search(
    query: str,
    limit: Annotated[int, Field(ge=1, le=50)] = 10,
    order: Literal["newest", "best"] = "best",
    author: Optional[str] = None,  # noqa: UP045
    *,
    schema: list[float] | None = None,
    context: Context,
) -> dict[str, Any]:
    """Search the archive.

    It holds everything since 1999.

    Args:
        query: What to look for,
            in any language.
        limit: How many at most.

    Returns:
        The documents.
    """
    return {
        "query": query,
        "limit": limit,
        "order": order,
        "author": author,
        "schema": schema,
        "org": context.organization,
    }


async def call(arguments: str) -> str:
    return await search.call(arguments, Context(principal=Principal("acme")))


def test_the_schema_says_types_defaults_bounds_and_descriptions() -> None:
    assert search.spec.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["query"],
        "properties": {
            "query": {
                "type": "string",
                "description": "What to look for, in any language.",
            },
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": 50,
                "default": 10,
                "description": "How many at most.",
            },
            "order": {"type": "string", "enum": ["newest", "best"], "default": "best"},
            "author": {
                "anyOf": [{"type": "string"}, {"type": "null"}],
                "default": None,
            },
            "schema": {
                "anyOf": [
                    {"type": "array", "items": {"type": "number"}},
                    {"type": "null"},
                ],
                "default": None,
            },
        },
    }


def test_the_description_is_the_docstring_without_its_sections() -> None:
    assert search.spec.description == (
        "Search the archive.\n\nIt holds everything since 1999."
    )


async def test_an_omitted_argument_has_the_functions_default() -> None:
    assert await call('{"query": "tea"}') == (
        '{"query":"tea","limit":10,"order":"best","author":null,"schema":null,'
        '"org":"acme"}'
    )


async def test_a_number_may_be_sent_as_text() -> None:
    assert '"limit":5' in await call('{"query": "tea", "limit": "5"}')


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", "query: Field required"),
        ("{}", "query: Field required"),
        ('{"query": "tea", "limit": 51}', "limit: Input should be less than or equal"),
        ('{"query": "tea", "limit": "five"}', "limit: Input should be a valid integer"),
        ('{"query": "tea", "limit": 1.5}', "limit: Input should be a valid integer"),
        ('{"query": 5}', "query: Input should be a valid string"),
        ('{"query": "tea", "order": "worst"}', "order: Input should be 'newest' or"),
        ('{"query": "tea", "schema": [1, NaN]}', "schema.1: Input should be a finite"),
        ('{"query": "tea", "colour": "red"}', "colour: Extra inputs are not permitted"),
        ('{"query": "tea", "context": {}}', "context: Extra inputs are not permitted"),
        ('{"query": "tea"', "Invalid JSON"),
        ('{"query": "\\ud800"}', "Invalid JSON"),
        ("[" * 10_000, "Invalid JSON"),
        ('"tea"', "Input should be an object"),
        ("null", "Input should be an object"),
    ],
)
async def test_invalid_arguments_are_described_in_a_sentence(
    arguments: str, expected: str
) -> None:
    with pytest.raises(ToolError, match="^The arguments do not fit: ") as caught:
        await call(arguments)
    assert expected in str(caught.value)
    assert "pydantic" not in str(caught.value)


async def test_of_a_thousand_errors_the_first_few_are_described() -> None:
    wrong = ", ".join(['"x"'] * 1000)
    with pytest.raises(ToolError) as caught:
        await call(f'{{"query": "tea", "schema": [{wrong}]}}')
    assert len(str(caught.value)) < 1000


def test_a_parameter_without_annotation_is_refused_at_once() -> None:
    def guess(what) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """Guess."""
        return "?"

    with pytest.raises(TypeError, match=r"guess: parameter 'what' has no type"):
        tool(guess)


class Basket:
    """A type that pydantic does not know."""


def test_a_type_without_a_schema_is_refused_at_once_with_the_function() -> None:
    def order(basket: Basket) -> str:
        """Order what is in a basket."""
        return str(basket)

    with pytest.raises(TypeError, match=r"order: a parameter .*Basket'>\.$"):
        tool(order)


@pytest.mark.parametrize("kind", ["*numbers: int", "**names: int", "number: int, /"])
def test_a_parameter_that_cannot_be_passed_by_name_is_refused_at_once(
    kind: str,
) -> None:
    scope: dict[str, Any] = {}
    exec(f"def add({kind}) -> int:\n    'Add.'\n    return 0", scope)
    with pytest.raises(TypeError, match="cannot be given by name"):
        tool(scope["add"])
