"""The parameters of a function: described as JSON Schema, read from a model's JSON."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

from docstring_parser import Docstring
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema

from streaming.tool_calls import object_text

#: The number of errors that a model is sent; more would not help it.
MAX_ERRORS = 5


class InvalidTool(TypeError):
    """A function that cannot be a tool."""


class _Arguments(BaseModel):
    """The base of every tool's arguments.

    Types are lenient as in pydantic ("5" is an integer, "five" is not). Names are
    strict: an unknown name is an error.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class UntitledSchema(GenerateJsonSchema):
    """JSON Schema without titles, which repeat the names and cost tokens."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


class Parameters:
    """The parameters of a function, except for the one of type `context_type`.

    `context_name` is the name of that parameter, or None.
    """

    def __init__(
        self, function: Callable[..., object], docstring: Docstring, context_type: type
    ) -> None:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
        for parameter in parameters:
            _check(function, parameter, hints)
        visible = [p for p in parameters if hints[p.name] is not context_type]
        hidden = (p.name for p in parameters if p not in visible)
        self.context_name = next(hidden, None)
        try:
            self._model = _model(visible, hints, _descriptions(docstring))
            self.schema = self._model.model_json_schema(schema_generator=UntitledSchema)
        except PydanticUserError as error:
            # Without pydantic's advice, which is for models of one's own.
            problem = error.message.partition(". ")[0]
            raise InvalidTool(
                f"{function.__qualname__}: a parameter has a type that cannot be "
                f"described to the model: {problem}."
            ) from None
        del self.schema["title"]

    def parse(self, text: str) -> dict[str, Any]:
        """Return the keyword arguments in a JSON text, without defaults.

        Raises `ValueError` with a sentence for the model.
        """
        try:
            text = object_text(text) or text.strip() or "{}"
            arguments = self._model.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(_sentence(error)) from None
        fields = self._model.model_fields
        return {
            str(fields[name].alias): getattr(arguments, name)
            for name in arguments.model_fields_set
        }


def _check(
    function: Callable[..., object],
    parameter: inspect.Parameter,
    hints: dict[str, Any],
) -> None:
    where = f"{function.__qualname__}: parameter {parameter.name!r}"
    if parameter.name not in hints:
        raise InvalidTool(f"{where} has no type annotation.")
    if parameter.kind not in (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    ):
        raise InvalidTool(f"{where} cannot be given by name, which a tool's must.")


def _descriptions(docstring: Docstring) -> dict[str, str]:
    return {
        param.arg_name: " ".join(param.description.split())
        for param in docstring.params
        if param.description
    }


def _model(
    parameters: list[inspect.Parameter],
    hints: dict[str, Any],
    descriptions: dict[str, str],
) -> type[_Arguments]:
    """Return a pydantic model of the parameters.

    Its fields have generated names and the parameters' names as aliases: a parameter
    may have the name of an attribute of pydantic models (`schema`, `copy`).
    """
    fields: dict[str, Any] = {}
    for number, parameter in enumerate(parameters):
        required = parameter.default is inspect.Parameter.empty
        default = ... if required else parameter.default
        hint = hints[parameter.name]
        if description := descriptions.get(parameter.name):
            hint = Annotated[hint, Field(description=description)]
        fields[f"field_{number}"] = (hint, Field(default, alias=parameter.name))
    return create_model("Arguments", __base__=_Arguments, **fields)


def _sentence(error: ValidationError) -> str:
    problems = error.errors(
        include_url=False, include_context=False, include_input=False
    )
    messages = [
        f"{'.'.join(str(step) for step in problem['loc']) or 'arguments'}: "
        f"{problem['msg']}"
        for problem in problems[:MAX_ERRORS]
    ]
    return f"The arguments do not fit: {'; '.join(messages)}."
