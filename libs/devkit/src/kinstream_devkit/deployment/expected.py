"""What a deployment to the emulator is told, and what may be said of it: no I/O."""

import re
from collections.abc import Mapping
from typing import Any

SERVICES = ("ingest-api", "session-worker", "media-worker", "recommender-trigger")
"""Services with an image of their own."""

DRIFTING = frozenset(
    {
        "aws_cloudwatch_composite_alarm",
        "aws_cloudwatch_metric_alarm",
        "aws_db_instance",
        "aws_ecs_service",
        "aws_flow_log",
        "aws_vpc_endpoint",
        "aws_vpc_security_group_ingress_rule",
    }
)
"""Types of which the emulator tells something else than it was told."""

QUICK = {
    "session-worker": {"KINSTREAM_ARCHIVE_LINGER_SECONDS": "3", "KINSTREAM_SCORE_FLUSH_SECONDS": "5"},
}
"""Settings by service, as `settings` of envs/dev takes them: what is sent shows up in seconds."""

_ADVICE = (
    (
        r"security_credentials|InvalidClientTokenId|AccessDenied",
        "the emulator refused the credentials or the role: see its last words",
    ),
    (
        r"connection refused|EOF|connection reset",
        "the emulator is away: see its last words, then start again",
    ),
    (
        r"Failed to (query available|install) provider|registry\.terraform\.io",
        "Terraform cannot get the AWS provider; with a mirror: KINSTREAM_TERRAFORM_PLUGINS=FOLDER",
    ),
    (
        r"Address already in use|port is already allocated",
        "a port is taken; end what listens there, or start again",
    ),
)


def dev_variables(
    prefix: str, image_tag: str, url: str, seen_by_tasks: str, *, checks_iam: bool = False
) -> dict[str, Any]:
    """Variables by which envs/dev deploys to an emulator."""
    return {
        "prefix": prefix,
        "image_tag": image_tag,
        "emulator": {"url": url, "seen_by_tasks": seen_by_tasks, "checks_iam": checks_iam},
        "alarm_email": "operations@example.com",
    }


def changed(plan: Mapping[str, Any]) -> set[str]:
    """Types of the resources that a plan would touch."""
    return {
        change["type"]
        for change in plan.get("resource_changes", [])
        if change["mode"] == "managed" and change["change"]["actions"] not in (["no-op"], ["read"])
    }


def kept(url: str, problems: int) -> str:
    """What is said of a deployment that is kept until Ctrl-C."""
    found = f"{problems} problem{'s' * (problems > 1)}, told at the end" if problems else "as it must be"
    return f"checked, {found}; the API is at {url}; Ctrl-C destroys it"


def words_of(errors: str) -> str:
    """What Terraform's errors come to: the resource and the first line of each, and what to do."""
    found = []
    for block in re.split(r"^Error: ", errors, flags=re.MULTILINE)[1:]:
        resource = re.search(r"^\s*with ([^\s,]+)", block, flags=re.MULTILINE)
        found.append(f"{resource[1] if resource else 'Terraform'}: {block.partition(chr(10))[0].strip()}")
    advice = [text for pattern, text in _ADVICE if re.search(pattern, errors)]
    return "\n".join([*(found or [errors.strip()[-500:]]), *(f"What to do: {text}." for text in advice)])


def seconds_in_words(seconds: float) -> str:
    """4 min 05 s"""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
