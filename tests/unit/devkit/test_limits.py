"""Which rates `kinstream limits set` takes."""

import pytest
from click.testing import CliRunner

from kinstream_devkit.cli.limits import limits


@pytest.mark.parametrize("rate", ["0", "-1", "1.5", "10000001", "9" * 5_000, "many", ""])
def test_a_rate_that_no_deployment_could_have_is_refused(rate):
    refused = CliRunner().invoke(limits, ["set", "--", rate])
    assert refused.exit_code == 2
    assert "whole number from 1 to 10,000,000" in refused.output
