"""Schemas of an app: which are taken, what they say of an event, and what their check may cost."""

import json
import re

import msgspec
import pytest

from ingest_api.judgement import BadEvent
from ingest_api.rules import Rules
from ingest_api.schemas import compile_schema
from kinstream.app_rules import MAX_SCHEMA_BYTES, AppRules, Privacy
from kinstream.errors import PermanentError
from kinstream.events import ClientEvent

SECRET = "4111-1111-1111-1111"


def event(data, **fields):
    text = data if isinstance(data, str) else json.dumps(data)
    values = {"id": "1", "type": "order.paid", "customer_id": "c", "occurred_at": "2026-11-20T18:04:05Z"}
    return ClientEvent(**values | fields, data=msgspec.Raw(text.encode()))


def verdict(schema, data):
    try:
        compile_schema(json.dumps(schema)).check(event(data))
    except BadEvent as bad:
        return f"{bad.code}: {bad.detail}"
    return None


ORDER = {
    "type": "object",
    "required": ["total"],
    "properties": {
        "total": {"type": "number", "minimum": 0},
        "email": {"format": "email"},
        "kind": {"enum": ["gift", "own"]},
        "card": {"type": "string", "pattern": "^[0-9]{16}$"},
        "lines": {"type": "array", "uniqueItems": True, "items": {"type": "object", "required": ["sku"]}},
        "tags": {"propertyNames": {"maxLength": 3}},
        "any": {"anyOf": [{"type": "null"}, {"const": 5}]},
    },
    "unevaluatedProperties": False,
}


def test_good_data_passes():
    assert verdict(ORDER, {"total": 12.5, "email": "a@b.de", "lines": [{"sku": 1}], "tags": {"a": 1}}) is None
    assert verdict({"type": "object"}, "{}") is None


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        ({}, "data", '"total" is a required property'),
        ({"total": SECRET}, "data.total", 'not of type "number"'),
        ({"total": 1, "email": SECRET}, "data.email", '"email"'),
        ({"total": 1, "kind": SECRET}, "data.kind", '"gift" or "own"'),
        ({"total": 1, "card": SECRET}, "data.card", "does not match"),
        ({"total": 1, "lines": [{"sku": 1}, {"x": SECRET}]}, "data.lines.1", '"sku" is a required property'),
        ({"total": 1, "lines": [SECRET, SECRET]}, "data.lines", "non-unique"),
        ({"total": 1, "tags": {SECRET: 1}}, "data.tags", "a name that is not allowed"),
        ({"total": 1, "any": SECRET}, "data.any", "anyOf"),
        ({"total": 1, "extra": SECRET}, "data", "'extra' was unexpected"),
    ],
)
def test_a_violation_names_the_place_and_never_the_value(data, place, reason):
    detail = verdict(ORDER, data)
    assert detail.startswith(f"schema_violation: {place}: ")
    assert reason in detail
    assert SECRET not in detail


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"total": {}}, "additionalProperties": False},
        {"properties": {"total": {}}, "unevaluatedProperties": False},
        {"maxProperties": 1},
        {"propertyNames": {"pattern": "^[a-z]+$"}},
    ],
)
def test_what_a_dialect_adds_to_data_is_not_the_schemas_concern(schema):
    said = {"_client": {"dialect": "segment", "call": "track"}}
    assert verdict(schema, {"total": 1} | said) is None
    assert verdict(schema, {"total": 1, "Other_1": 2} | said).startswith("schema_violation: data")


def test_numbers_beyond_a_float_and_deep_data_are_judged_without_a_crash():
    assert verdict({"properties": {"n": {"type": "integer"}}}, '{"n":123456789012345678901234567890}') is None
    assert "number" in verdict({"type": "object"}, '{"n":1e999}')
    recursive = {"properties": {"a": {"$ref": "#"}}, "additionalProperties": {"type": "number"}}
    assert verdict(recursive, '{"a":' * 900 + "{}" + "}" * 900) is None
    detail = verdict(recursive, '{"a":' * 900 + '{"b":"x"}' + "}" * 900)
    assert len(detail) < 500


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nope", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"type": "objekt"}', "type: "),
        ('{"required": "total"}', 'required: it is not of type "array"'),
        ('{"$schema": "http://json-schema.org/draft-07/schema#"}', "another draft"),
        ('{"pattern": "(?=a)b"}', "no regular expression"),
        ('{"pattern": "(a{1000}){1000}"}', "no regular expression"),
        ('{"$ref": "https://example.com/a.json"}', "only parts of the schema itself"),
        ('{"$ref": "file:///etc/hostname"}', "only parts of the schema itself"),
        ('{"properties": {"a": {"$ref": "b.json"}}}', "only parts of the schema itself"),
        ('{"$ref": "#/$defs/none"}', "no such part"),
        ('{"$dynamicRef": "#a"}', "not supported"),
        ('{"$defs": {"a": {"$id": "https://example.com/a"}}}', "$id is supported at the top alone"),
        ('{"$ref": "#"}', "leads back to itself"),
        (
            '{"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}',
            "leads back to itself",
        ),
        ('{"not":' * 400 + "{}" + "}" * 400, "nested too deep"),
        ('{"items":' * 400 + "{}" + "}" * 400, "nested too deep"),
        (json.dumps({"title": "x" * MAX_SCHEMA_BYTES}), "65,536 are the limit"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_in_words(text, reason):
    with pytest.raises(PermanentError, match=re.escape(reason)):
        compile_schema(text)


def doubling(levels):
    twice = [
        {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}, {"$ref": f"#/$defs/d{level + 1}"}]}
        for level in range(levels)
    ]
    return {"$ref": "#/$defs/d0", "$defs": {f"d{n}": one for n, one in enumerate([*twice, {}])}}


def test_a_schema_that_doubles_its_work_is_refused():
    compile_schema(json.dumps(doubling(5)))
    for schema in [
        doubling(40),
        {"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}},
        {"properties": {"a": {"$ref": "#"}}, "patternProperties": {"^a": {"$ref": "#"}}},
        {"prefixItems": [{"$ref": "#"}], "contains": {"$ref": "#"}},
    ]:
        with pytest.raises(PermanentError, match="2,000 subschemas"):
            compile_schema(json.dumps(schema))


def test_trees_and_long_schemas_are_no_doubling():
    tree = {"properties": {"left": {"$ref": "#node"}, "right": {"$ref": "#node"}}, "$anchor": "node"}
    tree["properties"]["rest"] = {"items": {"$ref": "#/properties/left"}}
    assert verdict(tree, {"left": {"right": {"left": {}}}, "rest": [{}, {"rest": []}]}) is None
    compile_schema(
        json.dumps({"properties": {f"p{n}": {"type": "string", "maxLength": n} for n in range(900)}})
    )


def test_a_pattern_is_matched_in_time_that_grows_with_the_text_alone():
    # With backtracking this would outlive the test's timeout many times over.
    detail = verdict({"properties": {"t": {"pattern": "^(a+)+$"}}}, {"t": "a" * 30_000 + "b"})
    assert detail == 'schema_violation: data.t: the value does not match "^(a+)+$"'


def rules(privacy=None, **schemas):
    compiled = {
        name.replace("_", "."): compile_schema(json.dumps(schema)) for name, schema in schemas.items()
    }
    versions = {name: schema.version for name, schema in compiled.items()}
    return Rules(AppRules(privacy or Privacy(), versions), compiled)


def raw_of(event):
    return msgspec.json.encode(event)


def test_a_schema_concerns_its_own_type_alone():
    strict = rules(order_paid={"required": ["total"]})
    other = event({}, type="order.begun")
    assert strict.apply(other, raw_of(other)) == raw_of(other)
    with pytest.raises(BadEvent, match="total"):
        strict.apply(event({}), raw_of(event({})))


def test_a_schema_sees_what_the_privacy_switches_leave():
    both = rules(Privacy(deny=("email",)), order_paid={"properties": {"email": False}, "required": ["total"]})
    paid = event({"email": "x", "total": 1})
    kept = both.apply(paid, raw_of(paid))
    assert b"email" not in kept
    assert both.apply(msgspec.json.decode(kept, type=ClientEvent), kept) is kept


def test_an_event_whose_type_needs_a_denied_field_is_refused_and_says_why():
    viewed = event({"content_id": "c"}, type="content.viewed")
    with pytest.raises(BadEvent) as refused:
        rules(Privacy(deny=("content_id",))).apply(viewed, raw_of(viewed))
    assert refused.value.code == "missing_field"
    assert refused.value.detail == "data.content_id: is required (the app's privacy switches drop fields)"
