"""What a million events cost, from prices and from how much of everything they use. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

Prices = Mapping[str, float]

MILLION = 1_000_000
_SECONDS_AN_HOUR = 3_600
_KB = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What the path uses for its events, measured or assumed."""

    event_bytes: int
    events_a_chunk: int
    """Events in one SNS message."""
    messages_a_receive: int
    queues: int
    """Queues that each chunk goes to."""
    write_units_per_1000: float
    read_units_per_1000: float
    cpu_us_an_event: float
    cpu_utilisation: float
    """Share of the CPU paid for that is used."""
    memory_gb_a_vcpu: float
    events_a_second: float
    archive_files_an_hour: float
    archive_bytes_an_event: float


def path_cost(prices: Prices, usage: Usage) -> dict[str, float]:
    """US dollars for a million events, by charge."""
    hours = MILLION / usage.events_a_second / _SECONDS_AN_HOUR
    chunks = MILLION / usage.events_a_chunk
    # SNS and SQS bill each started 64 KB.
    pieces = -(-usage.event_bytes * usage.events_a_chunk // (64 * _KB))
    delivered = chunks * usage.queues
    # Each message is sent into its queue, and shares a receive and a delete with others.
    sqs_requests = delivered * pieces + 2 * delivered / usage.messages_a_receive
    vcpu_hours = usage.cpu_us_an_event / _SECONDS_AN_HOUR / usage.cpu_utilisation
    gigabytes = usage.event_bytes * MILLION / 1e9
    return {
        "load balancer": hours * prices["alb_hour"]
        + _lcu_hours(usage, hours, gigabytes) * prices["alb_lcu_hour"],
        "SNS": chunks * pieces * prices["sns_request"],
        "SQS": sqs_requests * prices["sqs_request"],
        "DynamoDB writes": usage.write_units_per_1000 * 1_000 * prices["dynamodb_write_unit"],
        "DynamoDB reads": usage.read_units_per_1000 * 1_000 * prices["dynamodb_read_unit"],
        "Fargate": vcpu_hours
        * (prices["fargate_vcpu_hour"] + usage.memory_gb_a_vcpu * prices["fargate_gb_hour"]),
        "S3": usage.archive_files_an_hour * hours * prices["s3_put"]
        + usage.archive_bytes_an_event * MILLION / 1e9 * prices["s3_gb_month"],
    }


def lambda_cost(
    prices: Prices, *, write_units_an_event: float, milliseconds: float, memory_gb: float
) -> dict[str, float]:
    """US dollars for a million events, each of them one invocation behind an HTTP API."""
    return {
        "API Gateway": MILLION * prices["http_api_request"],
        "Lambda requests": MILLION * prices["lambda_request"],
        "Lambda time": MILLION * milliseconds / 1_000 * memory_gb * prices["lambda_gb_second"],
        "DynamoDB writes": MILLION * write_units_an_event * prices["dynamodb_write_unit"],
    }


def _lcu_hours(usage: Usage, hours: float, gigabytes: float) -> float:
    """Load balancer capacity: by bytes (1 GB an hour) or requests that follow a rule (1,000 a second)."""
    requests_a_second = usage.events_a_second / usage.events_a_chunk
    return max(gigabytes, hours * requests_a_second / 1_000)
