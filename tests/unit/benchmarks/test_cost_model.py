"""The cost of a million events, against sums done by hand."""

from dataclasses import replace

import pytest

from benchmarks.cost_model import Usage, lambda_cost, path_cost

PRICES = {
    "sns_request": 0.5e-6,
    "sqs_request": 0.4e-6,
    "dynamodb_write_unit": 0.625e-6,
    "dynamodb_read_unit": 0.125e-6,
    "fargate_vcpu_hour": 0.04,
    "fargate_gb_hour": 0.005,
    "s3_put": 5e-6,
    "s3_gb_month": 0.02,
    "alb_hour": 0.02,
    "alb_lcu_hour": 0.01,
    "http_api_request": 1e-6,
    "lambda_request": 0.2e-6,
    "lambda_gb_second": 16e-6,
}
USAGE = Usage(
    event_bytes=500,
    events_a_chunk=50,
    messages_a_receive=10,
    queues=3,
    write_units_per_1000=1_500,
    read_units_per_1000=100,
    cpu_us_an_event=36,
    cpu_utilisation=0.5,
    memory_gb_a_vcpu=2,
    events_a_second=1_000,
    archive_files_an_hour=180,
    archive_bytes_an_event=100,
)


def test_each_charge_of_the_path_is_its_amount_times_its_price():
    cost = path_cost(PRICES, USAGE)
    assert cost["SNS"] == pytest.approx(20_000 * 0.5e-6)
    assert cost["SQS"] == pytest.approx((60_000 + 2 * 6_000) * 0.4e-6)
    assert cost["DynamoDB writes"] == pytest.approx(1_500_000 * 0.625e-6)
    assert cost["Fargate"] == pytest.approx(36 / 3_600 / 0.5 * (0.04 + 2 * 0.005))
    assert cost["S3"] == pytest.approx(50 * 5e-6 + 0.1 * 0.02)
    assert cost["load balancer"] == pytest.approx(1_000 / 3_600 * 0.02 + 0.5 * 0.01)


def test_a_chunk_beyond_64_kb_is_billed_as_two():
    small, large = (path_cost(PRICES, replace(USAGE, events_a_chunk=count)) for count in (131, 132))
    assert large["SNS"] / small["SNS"] == pytest.approx(2 * 131 / 132)


def test_a_lambda_an_event_pays_request_invocation_time_and_write():
    cost = lambda_cost(PRICES, write_units_an_event=8, milliseconds=10, memory_gb=0.125)
    assert cost["API Gateway"] == pytest.approx(1)
    assert cost["Lambda requests"] == pytest.approx(0.2)
    assert cost["Lambda time"] == pytest.approx(1e6 * 0.01 * 0.125 * 16e-6)
    assert cost["DynamoDB writes"] == pytest.approx(5)
