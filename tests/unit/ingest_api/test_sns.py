"""The SNS client against what it stands in for."""

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

from ingest_api.sns import signed_headers


@pytest.mark.parametrize("token", [None, "a session token"])
def test_the_signature_is_botocore_s(token):
    body = b"Action=PublishBatch&Version=2010-03-31"
    ours = dict(
        signed_headers(
            body,
            "sns.eu-west-1.amazonaws.com",
            "eu-west-1",
            ReadOnlyCredentials("AKIDEXAMPLE", "secret", token),
            datetime.now(UTC),
        )
    )
    request = AWSRequest(
        "POST",
        "https://sns.eu-west-1.amazonaws.com/",
        headers={"content-type": ours["content-type"]},
        data=body,
    )
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "secret", token), "sns", "eu-west-1")
    if token:
        request.headers["X-Amz-Security-Token"] = token
    request.context["timestamp"] = ours["x-amz-date"]
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    assert ours["authorization"].endswith("Signature=" + signer.signature(to_sign, request))
