"""An app's JSON Schemas (draft 2020-12) for the `data` of its event types. Pure.

A schema comes from an operator and may be wrong in any way: it is bounded in size and in the work it
makes, its patterns are matched in time that grows with the text alone, and nothing is ever fetched.
"""

from dataclasses import dataclass

import jsonschema_rs
import msgspec

from ingest_api.dialects.translation import CLIENT_FIELD
from ingest_api.judgement import UNDECODABLE, BadEvent
from ingest_api.schema_cost import weigh
from kinstream.app_rules import MAX_SCHEMA_BYTES, schema_version
from kinstream.errors import PermanentError
from kinstream.events import ClientEvent

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_REGEX_BYTES = 512 * 1024
_MAX_CHARACTERS = 200
_MASK = "the value"


@dataclass(frozen=True, slots=True)
class EventSchema:
    """A schema, compiled. The same version is the same text."""

    version: str
    validator: jsonschema_rs.Draft202012Validator

    def check(self, event: ClientEvent) -> None:
        """Raise BadEvent where `data` is not as the schema has it. The detail names the place, no value.

        What a dialect has added to `data` is not looked at: a schema is about what the client says.
        """
        try:
            data = msgspec.json.decode(event.data)
            if isinstance(data, dict):
                data.pop(CLIENT_FIELD, None)
            if self.validator.is_valid(data):
                return
            problem = next(self.validator.iter_errors(data))
        except msgspec.ValidationError as error:
            raise _violation("data: has a number beyond what can be checked") from error
        except (ValueError, RecursionError) as error:
            raise _violation("data: is nested too deep to be checked") from error
        place = ".".join(["data", *map(str, problem.instance_path)])
        raise _violation(f"{_cut(place)}: {_cut(_reason(problem))}")


def compile_schema(text: str) -> EventSchema:
    """The schema in `text`; PermanentError says in words why it is none, or none that can be used."""
    size_bytes = len(text.encode())
    if size_bytes > MAX_SCHEMA_BYTES:
        raise PermanentError(f"the schema has {size_bytes:,} bytes; {MAX_SCHEMA_BYTES:,} are the limit")
    try:
        schema = msgspec.json.decode(text)
    except UNDECODABLE as error:
        raise PermanentError(f"the schema is no JSON: {error}") from error
    if not isinstance(schema, dict):
        raise PermanentError('the schema is no JSON object, such as {"type": "object"}')
    draft = schema.get("$schema", _DRAFT)
    if str(draft).rstrip("#") != _DRAFT:
        raise PermanentError(f"the schema is of another draft, {draft}; write it for {_DRAFT}")
    try:
        weigh(schema)
        validator = jsonschema_rs.Draft202012Validator(
            schema,
            offline=True,
            mask=_MASK,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES),
            validate_formats=True,
        )
    except jsonschema_rs.ValidationError as error:
        raise PermanentError(f"the schema is not valid: {_wrong_part(error)}") from error
    except (RecursionError, ValueError) as error:
        raise PermanentError("the schema is nested too deep") from error
    return EventSchema(schema_version(text), validator)


def _violation(detail: str) -> BadEvent:
    return BadEvent("schema_violation", detail)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


def _reason(problem: jsonschema_rs.ValidationError) -> str:
    # Its text tells the name, which is what is wrong with it.
    return "has a name that is not allowed" if problem.kind.name == "propertyNames" else problem.message


def _wrong_part(error: jsonschema_rs.ValidationError) -> str:
    place = ".".join(map(str, error.instance_path))
    if "regex" in error.message:
        return f"{place}: no regular expression that can be used (nor can look-around, \\1, or many repeats)"
    return f"{place or 'at the top'}: {error.message.replace(_MASK, 'it')}"
