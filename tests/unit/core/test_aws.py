"""With whose credentials calls are signed."""

import pytest

from kinstream.aws import CredentialsSource, blocking_client
from kinstream.settings import CoreSettings

EMULATOR = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def own_credentials(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.parametrize(
    ("endpoint", "checks_iam", "expected"),
    [(None, False, "own"), (EMULATOR, False, "local"), (EMULATOR, True, "own")],
)
async def test_only_an_emulator_that_checks_them_is_sent_own_credentials(endpoint, checks_iam, expected):
    settings = CoreSettings(aws_endpoint_url=endpoint, aws_endpoint_checks_iam=checks_iam)
    assert (await CredentialsSource(settings)()).access_key == expected
    client = blocking_client("sqs", settings)
    signer = client._request_signer._credentials
    assert signer.access_key == expected
    client.close()
