"""The demo model's answers that have a type."""

import json
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from streaming.agent.output import OutputType
from streaming.messages import user_message
from streaming.providers import make_provider
from streaming.providers.base import ModelRequest, ResponseEnd, TextDelta
from streaming.providers.demo.options import DemoOptions
from streaming.providers.demo.outputs import simplest
from tests.providers.anthropic_streams import read


class Colour(Enum):
    RED = "red"


class Inner(BaseModel):
    name: Annotated[str, Field(min_length=6, max_length=8)]
    colours: Annotated[list[Colour], Field(min_length=2)]


class Tree(BaseModel):
    children: list["Tree"]
    parent: "Tree | None"


class Everything(BaseModel):
    flag: bool
    number: Annotated[int, Field(gt=2, le=9)]
    ratio: Annotated[float, Field(ge=0.5)]
    price: Decimal
    day: date
    moment: datetime
    id: UUID
    kind: Literal["a", "b"]
    inner: Inner
    maybe: int | None
    pair: tuple[int, str]
    table: dict[str, int]
    extra: str = "given"


@pytest.mark.parametrize(
    "kind", [Everything, Tree, list[int], Literal["a"], int | str, dict[str, int], bool]
)
def test_the_simplest_value_fits_its_type(kind: Any) -> None:  # noqa: ANN401
    output: OutputType[Any] = OutputType(kind)
    output.validate(json.dumps(simplest(output.schema)))


async def test_the_demo_model_answers_in_the_form_of_the_type() -> None:
    output: OutputType[Inner] = OutputType(Inner)
    provider = make_provider(
        DemoOptions(llm_provider="demo", demo_delay_ms=0, llm_thinking="off")
    )
    request = ModelRequest("", [user_message("Hi")], output=output.spec)
    deltas = await read(provider, request)
    text = "".join(d.text for d in deltas if isinstance(d, TextDelta))
    assert output.validate(text) == Inner(
        name="demo--", colours=[Colour.RED, Colour.RED]
    )
    assert deltas[-1] == ResponseEnd("end_turn")
