"""Every operation of the OpenAPI page, with data that fits it and with other: it answers as described."""

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.network import TIMEOUT_SECONDS

EXAMPLES = 6
"""Of each operation, for each key and each kind of data."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Not whether bad data is refused as a whole: a bad event fails alone, in an answer that is a success.

bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def send_cases(operation: APIOperation, mode: GenerationMode, session: requests.Session) -> int:
    """How many cases were sent and answered as described."""
    sent = 0

    @bounded
    @given(operation.as_strategy(mode))
    def is_answered_as_described(case: Case) -> None:
        nonlocal sent
        headers = {"Authorization": session.headers["Authorization"]}
        case.call_and_validate(session=session, headers=headers, checks=CHECKS, timeout=TIMEOUT_SECONDS)
        sent += 1

    try:
        is_answered_as_described()
    except Unsatisfiable:
        # Where nothing can be sent, nothing can be wrong with it.
        assert mode is GenerationMode.NEGATIVE
        assert not operation.body
    return sent


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("kind", ["write", "secret"])
def test_every_operation_answers_as_its_page_says(service, app, kind, mode):
    schema = schemathesis.openapi.from_url(service.url + "/openapi.json")
    # The stream has no end, and without Redis no beginning: test_stream.py.
    all_operations = [found.ok() for found in schema.get_all_operations()]
    operations = [found for found in all_operations if found.label != "GET /v1/stream"]
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {app.write_key if kind == 'write' else app.secret_key}"
        sent = {one.label: send_cases(one, mode, session) for one in operations}
    silent = {label for label, count in sent.items() if count == 0}
    assert mode is GenerationMode.NEGATIVE or not silent
    assert silent <= {"GET /healthz", "GET /readyz", "GET /metrics"}


def test_a_number_too_small_for_the_tables_is_kept_as_the_smallest(app):
    place = {"name": "Home", "latitude": -7e-232, "longitude": 0.0, "radius_m": 5e-324}
    address = "/v1/customers/fam-42/places/home"
    assert app.reader.put(address, json=place).status_code == 200
    kept = app.reader.get(address).json()
    assert (kept["latitude"], kept["longitude"], kept["radius_m"]) == (-1e-130, 0, 1e-130)
