"""What the cost table reckons with is what Terraform would make."""

import os

import pytest

from benchmarks import monthly
from benchmarks.deployed import counted
from benchmarks.terraform_plan import planned
from kinstream.errors import KinstreamError

LONG = "KINSTREAM_TERRAFORM_APPLY"
"""Set where the minutes are there: `make test-terraform`."""


@pytest.mark.parametrize(
    "environment",
    ["prod", pytest.param("dev", marks=pytest.mark.skipif(LONG not in os.environ, reason=f"needs {LONG}"))],
)
def test_counted_is_what_terraform_would_make(environment: str) -> None:
    try:
        resources = planned(monthly.INFRASTRUCTURE, environment)
    except KinstreamError as error:
        if os.environ.get("KINSTREAM_TESTS_REQUIRE_TERRAFORM"):
            raise
        pytest.skip(str(error))
    assert counted(resources) == monthly.read()[environment], (
        "`python -m benchmarks.monthly --count` counts anew"
    )
