"""What a function takes: told as JSON Schema, read from a model's JSON."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

from docstring_parser import Docstring
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema

#: A model that got everything wrong needs no longer list than this.
MAX_ERRORS = 5


class _Arguments(BaseModel):
    """The base of every tool's arguments.

    Types are lenient as pydantic's are ("5" is taken for an integer, "five" is not),
    names are not: one that the tool does not have is an error.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _JsonSchema(GenerateJsonSchema):
    """JSON Schema without titles, which repeat the names and cost tokens."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


class Parameters:
    """The parameters of a function, but for the one of the type `given`.

    `given_name` is that one's name, if there is one.
    """

    def __init__(
        self, function: Callable[..., object], docstring: Docstring, given: type
    ) -> None:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
        for parameter in parameters:
            _check(function, parameter, hints)
        told = [p for p in parameters if hints[p.name] is not given]
        self.given_name = next((p.name for p in parameters if p not in told), None)
        self._model = _model(told, hints, _descriptions(docstring))
        self.schema = _schema(self._model)

    def parse(self, text: str) -> dict[str, Any]:
        """The keyword arguments in a JSON text; defaults are left to the function.

        Raises `ValueError` with a sentence.
        """
        try:
            arguments = self._model.model_validate_json(text.strip() or "{}")
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
        raise TypeError(f"{where} has no type annotation.")
    if parameter.kind not in (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    ):
        raise TypeError(f"{where} cannot be given by name, which a tool's must.")


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
    """A pydantic model of the parameters.

    Its fields have names of their own and the parameters' as aliases, as a parameter
    may be called what a pydantic model's attribute is (`schema`, `copy`).
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


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(schema_generator=_JsonSchema)
    del schema["title"]
    return schema


def _sentence(error: ValidationError) -> str:
    problems = error.errors(
        include_url=False, include_context=False, include_input=False
    )
    told = [
        f"{'.'.join(str(step) for step in problem['loc']) or 'arguments'}: "
        f"{problem['msg']}"
        for problem in problems[:MAX_ERRORS]
    ]
    return f"The arguments do not fit: {'; '.join(told)}."
