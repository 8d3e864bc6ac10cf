"""`kinstream setup`: what services in containers need before they start."""

import json
from pathlib import Path

import httpx

from kinstream.settings import CoreSettings
from tests.support.ingest import native, start, stop
from tests.support.stack import kinstream


def variables_of(settings: CoreSettings, folder: Path, catalog_url: str) -> dict[str, str]:
    return {
        "KINSTREAM_NAME_PREFIX": settings.name_prefix,
        "KINSTREAM_AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
        "KINSTREAM_CATALOG_URL": catalog_url,
        "KINSTREAM_DATA_DIR": str(folder / "kept"),
    }


def test_service_finds_all_that_it_needs_and_the_keys_stay_the_same(settings, catalog_url, tmp_path):
    variables = variables_of(settings, tmp_path, catalog_url)
    first = kinstream("setup", "--json", variables=variables)
    assert first.returncode == 0, first.stderr
    address = json.loads(first.stdout)
    assert json.loads(kinstream("setup", "--json", variables=variables).stdout) == address

    public = {"KINSTREAM_CATALOG_URL": catalog_url, "KINSTREAM_S3_PUBLIC_URL": "http://s3.example.com"}
    service = start(settings, tmp_path, public)
    try:
        with service.client(address["write_key"]) as client:
            assert client.post("/v1/events", json=native()).json()["accepted"] == 1
            declaration = {"customer_id": "fam", "content_type": "image/jpeg", "bytes": 10}
            upload = client.post("/v1/media", json=declaration).json()["upload"]
        assert httpx.URL(upload["url"]).host == "s3.example.com"
        listed = kinstream("keys", "list", variables=variables | {"KINSTREAM_API_URL": service.url})
        assert listed.returncode == 0, listed.stderr
        assert "secret" in listed.stdout
    finally:
        stop(service)


def test_what_does_not_come_in_time_is_named_in_a_sentence(settings, catalog_url, tmp_path):
    away = {"KINSTREAM_AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    variables = variables_of(settings, tmp_path, catalog_url) | away
    ended = kinstream("setup", "--wait", "0.1", variables=variables)
    assert ended.returncode == 2
    assert "the emulator has not answered" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_on_aws_the_catalog_alone_is_set_up(settings, catalog_url, tmp_path):
    variables = variables_of(settings, tmp_path, catalog_url)
    del variables["KINSTREAM_AWS_ENDPOINT_URL"]
    ended = kinstream("setup", variables=variables)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "Terraform" in ended.stderr
