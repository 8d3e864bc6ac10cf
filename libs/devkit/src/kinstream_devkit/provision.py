"""Create what `kinstream.resources` describes, on an emulator. On AWS, Terraform does it."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from kinstream.aws import blocking_client
from kinstream.resources import (
    DEAD_LETTER_SUFFIX,
    Bucket,
    Names,
    ProcessorQueue,
    Queue,
    Resources,
    Table,
    describe,
)
from kinstream.settings import CoreSettings

_THREADS = 8
_RETENTION_SECONDS = 14 * 86_400
"""The longest that SQS has: a processor that stands still for days loses nothing."""
_TTL_ATTRIBUTE = "expires_at"

Step = Callable[[], object]


def provision(settings: CoreSettings, processors: Sequence[ProcessorQueue]) -> None:
    """Create every topic, queue, table and bucket that is missing, and set what is there as described.

    Safe to repeat, and to interrupt and repeat: nothing that exists is emptied or removed.
    """
    resources = describe(settings.names, processors)
    with ExitStack() as opened, ThreadPoolExecutor(_THREADS) as pool:
        # Closed afterwards: an emulator that stops waits for connections that are left open.
        clients = {
            name: opened.enter_context(closing(blocking_client(name, settings)))
            for name in ("sns", "sqs", "dynamodb", "s3")
        }
        # What is subscribed or notified must exist before what refers to it.
        for wave in (_first_wave(resources, clients), _second_wave(resources, clients)):
            for done in [pool.submit(step) for step in wave]:
                done.result()


def add_listener(sqs: Any, sns: Any, names: Names, queue: Queue) -> None:
    """Create one more queue that hears its topic from now on. Safe to repeat."""
    _create_queue(sqs, Resources((), (queue,), (), (), names), queue)
    _subscribe(sns, names, queue)


def stop_listening(sns: Any, names: Names, queue: Queue) -> None:
    """Take the queue off its topic; what it holds stays. Safe to repeat."""
    assert queue.topic
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=names.topic_arn(queue.topic))
    for page in pages:
        for one in page["Subscriptions"]:
            if one["Endpoint"] == names.queue_arn(queue.name):
                sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])


def _first_wave(resources: Resources, clients: dict[str, Any]) -> Iterator[Step]:
    for queue in resources.queues:
        yield partial(_create_queue, clients["sqs"], resources, queue)
    for table in resources.tables:
        yield partial(_create_table, clients["dynamodb"], table)


def _second_wave(resources: Resources, clients: dict[str, Any]) -> Iterator[Step]:
    for bucket in resources.buckets:
        yield partial(_create_bucket, clients["s3"], resources.names, bucket)
    # Last, and each with its subscriptions: a topic without them confirms what nobody will ever get.
    for topic in resources.topics:
        queues = [queue for queue in resources.queues if _listens(resources.names, queue, topic)]
        yield partial(_create_topic, clients["sns"], resources.names, topic, queues)


def _listens(names: Names, queue: Queue, topic: str) -> bool:
    return queue.topic is not None and names.of(queue.topic) == topic


def _create_topic(sns: Any, names: Names, topic: str, queues: Sequence[Queue]) -> None:
    sns.create_topic(Name=topic)
    for queue in queues:
        _subscribe(sns, names, queue)


def _create_queue(sqs: Any, resources: Resources, queue: Queue) -> None:
    names = resources.names
    dead_letter_name = queue.name + DEAD_LETTER_SUFFIX
    dead_letter_url = sqs.create_queue(QueueName=dead_letter_name)["QueueUrl"]
    sqs.set_queue_attributes(
        QueueUrl=dead_letter_url,
        Attributes={"MessageRetentionPeriod": str(_RETENTION_SECONDS)},
    )
    # Created bare and set afterwards: creating with attributes fails where an older queue has others.
    url = sqs.create_queue(QueueName=queue.name)["QueueUrl"]
    attributes = {
        "VisibilityTimeout": str(queue.visibility_timeout_seconds),
        "MessageRetentionPeriod": str(_RETENTION_SECONDS),
        "RedrivePolicy": json.dumps(
            {
                "deadLetterTargetArn": names.queue_arn(dead_letter_name),
                "maxReceiveCount": queue.max_receive_count,
            }
        ),
    }
    policy = _queue_policy(resources, queue)
    if policy:
        attributes["Policy"] = json.dumps(policy)
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)


def _queue_policy(resources: Resources, queue: Queue) -> dict[str, Any] | None:
    """Who may send to the queue: its topic, the buckets that notify it, and its rules."""
    names = resources.names
    senders = [
        ("s3.amazonaws.com", f"arn:aws:s3:::{bucket.name}")
        for bucket in resources.buckets
        if bucket.notify_queue == queue.name
    ]
    if queue.topic:
        senders.append(("sns.amazonaws.com", names.topic_arn(queue.topic)))
    senders += [("events.amazonaws.com", names.rule_arn(rule)) for rule in queue.rules]
    if not senders:
        return None
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": "sqs:SendMessage",
                "Resource": names.queue_arn(queue.name),
                "Condition": {"ArnEquals": {"aws:SourceArn": source}},
            }
            for service, source in senders
        ],
    }


def _subscribe(sns: Any, names: Names, queue: Queue) -> None:
    assert queue.topic
    wanted = {"RawMessageDelivery": "true"}
    if queue.filter_types is not None:
        wanted["FilterPolicy"] = json.dumps({"types": sorted(queue.filter_types)})
    subscription = sns.subscribe(
        TopicArn=names.topic_arn(queue.topic),
        Protocol="sqs",
        Endpoint=names.queue_arn(queue.name),
        Attributes=wanted,
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]
    # A subscription that was there keeps its old filter; a processor may handle other types now.
    for name, value in ({"FilterPolicy": "{}"} | wanted).items():
        sns.set_subscription_attributes(
            SubscriptionArn=subscription, AttributeName=name, AttributeValue=value
        )


def _create_table(dynamodb: Any, table: Table) -> None:
    kinds = {"pk": "S", "sk": "S"}
    for index in table.indexes:
        kinds |= {index.partition: "S", index.sort: index.sort_kind}
    request: dict[str, Any] = {
        "TableName": table.name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": _key_schema("pk", "sk"),
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()
        ],
    }
    if table.indexes:
        request["GlobalSecondaryIndexes"] = [
            {
                "IndexName": index.name,
                "KeySchema": _key_schema(index.partition, index.sort),
                "Projection": {"ProjectionType": "KEYS_ONLY" if index.keys_only else "ALL"},
            }
            for index in table.indexes
        ]
    _unless("ResourceInUseException", lambda: dynamodb.create_table(**request))
    dynamodb.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1})
    ttl = {"Enabled": True, "AttributeName": _TTL_ATTRIBUTE}
    # AWS refuses to enable what is enabled.
    _unless(
        "ValidationException",
        lambda: dynamodb.update_time_to_live(TableName=table.name, TimeToLiveSpecification=ttl),
    )


def _key_schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]


def _create_bucket(s3: Any, names: Names, bucket: Bucket) -> None:
    request: dict[str, Any] = {"Bucket": bucket.name}
    if names.region != "us-east-1":
        request["CreateBucketConfiguration"] = {"LocationConstraint": names.region}
    _unless("BucketAlreadyOwnedByYou", lambda: s3.create_bucket(**request))
    if bucket.used_by_pages:
        s3.put_bucket_cors(Bucket=bucket.name, CORSConfiguration=_FOR_PAGES)
    if bucket.expire_days:
        s3.put_bucket_lifecycle_configuration(
            Bucket=bucket.name, LifecycleConfiguration=_expire_after(bucket.expire_days)
        )
    if bucket.notify_queue:
        s3.put_bucket_notification_configuration(
            Bucket=bucket.name,
            NotificationConfiguration={
                "QueueConfigurations": [
                    {
                        "Id": "object-created",
                        "QueueArn": names.queue_arn(bucket.notify_queue),
                        "Events": ["s3:ObjectCreated:*"],
                    }
                ]
            },
        )


_FOR_PAGES = {
    "CORSRules": [
        {
            "AllowedMethods": ["POST", "PUT", "GET"],
            "AllowedOrigins": ["*"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 3_600,
        }
    ]
}


def _expire_after(days: int) -> dict[str, Any]:
    return {
        "Rules": [
            {
                "ID": "expire",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "Expiration": {"Days": days},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
            }
        ]
    }


def _unless(code: str, call: Step) -> None:
    """Call, taking the error of this code to mean that it is done already."""
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise
