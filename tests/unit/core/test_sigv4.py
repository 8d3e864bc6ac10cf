"""Our signatures against botocore's."""

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from kinstream.sigv4 import Service, signed_headers

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
JSON = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.Query"}


@pytest.mark.parametrize(("name", "headers"), [("sns", FORM), ("dynamodb", JSON)])
@given(
    body=st.binary(max_size=100),
    token=st.none() | st.just("a session token"),
    second=st.integers(0, 4_000_000_000),
)
def test_the_signature_is_botocore_s(name, headers, body, token, second):
    host = f"{name}.eu-west-1.amazonaws.com"
    moment = datetime.fromtimestamp(second, UTC)
    ours = signed_headers(
        Service(name, "eu-west-1", host),
        body,
        headers,
        ReadOnlyCredentials("AKIDEXAMPLE", "secret", token),
        moment,
    )
    request = AWSRequest("POST", f"https://{host}/", headers=dict(headers), data=body)
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "secret", token), name, "eu-west-1")
    if token:
        request.headers["X-Amz-Security-Token"] = token
    request.context["timestamp"] = ours["x-amz-date"]
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    assert ours["authorization"].endswith("Signature=" + signer.signature(to_sign, request))
    assert datetime.strptime(ours["x-amz-date"], "%Y%m%dT%H%M%S%z") == moment
