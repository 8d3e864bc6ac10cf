"""What `kinstream deploy-local` does not use of what roles are allowed, each with its reason."""

from collections.abc import Iterator

from kinstream_devkit.deployment.permissions import Unused

_API = "ingest-api-task"
_TRIGGER = "recommender-trigger-task"
_PROCESSORS = "session-worker-*-task"
_ACTIVITY, _ARCHIVE = "session-worker-activity-task", "session-worker-archive-task"
_LARGE, _ANY_MEDIA = "media-worker-large-task", "media-worker*-task"
_ENGINE = (
    "one engine counts for every processor; which rows it meets is the processor's and the input's doing"
)


def _never(role: str, resource: str, actions: str, reason: str) -> Iterator[Unused]:
    service = resource.partition(":")[0]
    return (Unused(role, f"{service}:{action}", resource, reason) for action in actions.split())


def _by_chance(role: str, resource: str, actions: str, reason: str) -> Iterator[Unused]:
    service = resource.partition(":")[0]
    return (Unused(role, f"{service}:{action}", resource, reason, False) for action in actions.split())


UNUSED: tuple[Unused, ...] = (
    Unused(
        "*-execution", "*", "*", "the emulator itself gets images, secrets and parameters, and keeps logs"
    ),
    Unused("emr-*", "*", "*", "the emulator's EMR starts no machines"),
    Unused("flow-logs", "*", "*", "the emulator's network writes none"),
    # The demo does not do everything that a customer can.
    *_never(_API, "dynamodb:table/registry", "BatchGetItem", "the demo's app has no schemas of its events"),
    *_never(
        _API, "dynamodb:table/registry", "Query DeleteItem", "the demo lists no places and takes none away"
    ),
    *_never(_API, "dynamodb:table/records", "UpdateItem", "the demo acknowledges no alert"),
    *_never(_API, "dynamodb:table/recommendations", "Query", "without training there are no lists"),
    *_never(_API, "sqs:uploads", "SendMessage", "the demo asks for no picture of its own size"),
    # Training is off, for the emulator's EMR runs no job.
    *(
        Unused(_TRIGGER, f"elasticmapreduce:{action}", "*", "without training nothing is launched")
        for action in (
            *("RunJobFlow", "AddTags", "PutAutoTerminationPolicy"),
            *("DescribeCluster", "ListSteps", "TerminateJobFlows"),
        )
    ),
    *_never(_TRIGGER, "iam:role/emr-*", "PassRole", "without training nothing is launched"),
    *_never(
        _TRIGGER,
        "dynamodb:table/recommendations",
        "Query PutItem UpdateItem DeleteItem BatchWriteItem ConditionCheckItem",
        "without training there are no runs and no lists",
    ),
    *_never(_TRIGGER, "dynamodb:table/counters", "UpdateItem", "without training nobody was served"),
    *_never(_TRIGGER, "s3:archive/events/*", "GetObject", "without training nothing is read"),
    *_never(_TRIGGER, "s3:training/*", "GetObject PutObject", "without training there are no jobs"),
    *_never(_TRIGGER, "sns:operations", "Publish", "without training nothing fails"),
    *_never(_TRIGGER, "sqs:emr-events", "DeleteMessage", "without training EMR tells nothing"),
    # Media: four small files, and two services that order what is to be made of them.
    *_never(
        _ANY_MEDIA, "ecs:task/*", "UpdateTaskProtection", "asked of ECS's agent, which the emulator is not"
    ),
    *_never(_ANY_MEDIA, "s3:derived/*", "AbortMultipartUpload", "for an upload that failed in the middle"),
    *_by_chance(_ANY_MEDIA, "s3:derived/*", "DeleteObject GetObject", "what another attempt has left"),
    *_never(_LARGE, "s3:uploads/*/original", "GetObject", "the demo has no long film"),
    *_never(_LARGE, "s3:derived/*", "PutObject", "the demo has no long film"),
    *_never(_LARGE, "sns:media", "Publish", "the demo has no long film"),
    *_never(_ANY_MEDIA, "sqs:media-large", "SendMessage DeleteMessage", "the demo has no long film"),
    *_by_chance(_ANY_MEDIA, "sqs:media*", "GetQueueAttributes", "before it sends there"),
    *_by_chance(_ANY_MEDIA, "sqs:uploads", "DeleteMessage", "whichever of both receives it"),
    *_by_chance(_ANY_MEDIA, "sqs:media", "SendMessage", "whichever of both has heard of the file"),
    *_by_chance(
        _ANY_MEDIA, "sqs:media*", "ChangeMessageVisibility", "while it works for long, or tries again"
    ),
    # Processors.
    *_never(_PROCESSORS, "sqs:rebuild-*", "*", "there only while `kinstream rebuild` counts anew"),
    *_never(
        _PROCESSORS, "sqs:processor-*-dlq", "SendMessage", "the demo sends nothing that can never succeed"
    ),
    *_by_chance(_PROCESSORS, "sqs:processor-*", "ChangeMessageVisibility", "where something was away"),
    *_by_chance(_PROCESSORS, "sns:alerts", "Publish", "those of the outbox, whoever has put them there"),
    *_by_chance(_PROCESSORS, "dynamodb:table/outbox", "PutItem UpdateItem", "as alerts are sent"),
    *_by_chance(_PROCESSORS, "dynamodb:table/ledger", "BatchGetItem Query", _ENGINE),
    *_by_chance(_PROCESSORS, "dynamodb:table/registry", "Query", _ENGINE),
    *_by_chance(_PROCESSORS, "dynamodb:table/records", "BatchGetItem PutItem UpdateItem", _ENGINE),
    *_by_chance(
        _PROCESSORS,
        "dynamodb:table/counters",
        "UpdateItem PutItem BatchWriteItem",
        "counters that many share are added up by whoever comes to it",
    ),
    *_by_chance(
        _ACTIVITY, "dynamodb:table/ledger", "UpdateItem", "sessions close after more quiet than a demo has"
    ),
    *_by_chance(_ACTIVITY, "sns:sessions", "Publish", "sessions close after more quiet than a demo has"),
    *_by_chance(_ACTIVITY, "sns:events", "Publish", "sessions close after more quiet than a demo has"),
    *_by_chance(_ARCHIVE, "s3:archive/*", "GetObject DeleteObject", "files are merged every ten minutes"),
)
