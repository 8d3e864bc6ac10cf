"""Which permissions of the deployment's roles a run has not used, and why that is right of some: no I/O."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_SINGLE = {
    "sns:PublishBatch": "sns:Publish",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}
"""What a batch is allowed by on AWS; the emulator has actions of its own for them."""


class Permission(NamedTuple):
    """What a role may do, and on what; or what it did. Names without the deployment's prefix."""

    role: str
    action: str
    resource: str


@dataclass(frozen=True, slots=True)
class Unused:
    """Permissions, by patterns with `*`, that a run leaves unused, and why it does."""

    role: str
    action: str
    resource: str
    reason: str
    is_certain: bool = True
    """False: it is a matter of chance, or of how many customers there are."""

    def covers(self, permission: Permission) -> bool:
        """Whether it speaks of this one."""
        return _matches((self.role, self.action, self.resource), permission)


def granted(state: Mapping[str, Any], prefix: str) -> set[Permission]:
    """All that the roles' own policies allow, of a state as `terraform show -json` tells it."""
    found = set()
    for policy in _policies(state["values"]["root_module"]):
        for statement in _list(json.loads(policy["policy"])["Statement"]):
            for action in _list(statement["Action"]):
                for resource in _list(statement["Resource"]):
                    found.add(_permission(prefix, policy["role"], action, resource))
    return found


def used(calls: Iterable[tuple[str, str, str]], prefix: str) -> set[Permission]:
    """Role, action and resource of calls, as permissions are named."""
    return {_permission(prefix, *call) for call in calls}


def problems_of_permissions(
    granted: set[Permission], used: set[Permission], unused: Iterable[Unused]
) -> list[str]:
    """Permissions that were not used and have no reason, and reasons that are not needed."""
    idle = {one for one in granted if not any(_matches(one, call) for call in used)}
    reasons = list(unused)
    problems = [
        f"{one.role} may {one.action} on {one.resource}, and did not: take it away, or say why"
        for one in sorted(idle)
        if not any(reason.covers(one) for reason in reasons)
    ]
    for reason in reasons:
        of = {one for one in granted if reason.covers(one)}
        words = f"{reason.role} {reason.action} {reason.resource} ({reason.reason})"
        if not of:
            problems.append(f"nothing is allowed any more of what is said to be unused: {words}")
        elif reason.is_certain:
            problems += [
                f"{one.role} did {one.action} on {one.resource}, which is said to be unused: {words}"
                for one in sorted(of - idle)
            ]
    return problems


def _policies(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in module.get("resources", []):
        if resource["type"] == "aws_iam_role_policy":
            yield resource["values"]
    for child in module.get("child_modules", []):
        yield from _policies(child)


def _permission(prefix: str, role: str, action: str, resource: str) -> Permission:
    if resource.startswith("arn:"):
        *_, service, _region, _account, rest = resource.split(":", 5)
        resource = f"{service}:" + re.sub(rf"\b{prefix}[-/]", "", rest, count=1)
    return Permission(role.removeprefix(f"{prefix}-"), _SINGLE.get(action, action), resource)


def _matches(patterns: Iterable[str], of: Iterable[str]) -> bool:
    return all(re.fullmatch(_expression(one), other) for one, other in zip(patterns, of, strict=True))


def _expression(pattern: str) -> str:
    """IAM's patterns: `*` is any text, `?` any sign."""
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
