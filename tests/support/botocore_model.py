"""Holds what a fake hears and says to botocore's own model of the service."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import OperationModel, ServiceModel, Shape
from botocore.session import get_session
from botocore.validate import ParamValidator


def model_of(service: str) -> ServiceModel:
    """The model of a service, by its name in botocore."""
    return get_session().get_service_model(service)


def violations(shape: Shape | None, value: Mapping[str, Any]) -> list[str]:
    """What AWS would not take: wrong types, missing or unknown members, no such enum, not of the pattern."""
    if shape is None:
        return []
    report = ParamValidator().validate(dict(value), shape)
    found = [report.generate_report()] if report.has_errors() else []
    return found + list(_finer(shape, value, shape.name))


def _finer(shape: Shape, value: Any, name: str) -> Iterator[str]:
    match shape.type_name:
        case "structure":
            for key, member in value.items():
                if key in shape.members:
                    yield from _finer(shape.members[key], member, f"{name}.{key}")
        case "list":
            for member in value:
                yield from _finer(shape.member, member, f"{name}[]")
        case "map":
            for member in value.values():
                yield from _finer(shape.value, member, f"{name}{{}}")
        case "string":
            yield from _text(shape, value, name)


def _text(shape: Shape, value: str, name: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{name}: {value!r} is none of {shape.enum}"
    pattern = shape.metadata.get("pattern")
    if pattern and not _fits(pattern, value):
        yield f"{name}: {value!r} is not {pattern}"


def _fits(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:  # a pattern of another dialect
        return True


def rest_parameters(
    operation: OperationModel, path: str, query: Mapping[str, list[str]], body: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters of a rest-json call, from where its model has them travel."""
    template = operation.http["requestUri"].partition("?")[0]
    in_path = re.fullmatch(re.sub(r"\{(\w+)\+?\}", r"(?P<\1>[^/]+)", template), path)
    assert in_path, f"{path} is not {template}"
    found = dict(body) | in_path.groupdict()
    for name, shape in operation.input_shape.members.items():
        sent = query.get(shape.serialization.get("name", name), [])
        if shape.serialization.get("location") == "querystring" and sent:
            found[name] = _typed(shape, sent)
    return found


def _typed(shape: Shape, sent: list[str]) -> Any:
    if shape.type_name == "list":
        return sent
    return int(sent[0]) if shape.type_name in ("integer", "long") else sent[0]
