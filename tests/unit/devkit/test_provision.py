"""What provisioning leaves behind, on the emulator."""

import json

from kinstream.aws import blocking_client
from kinstream.resources import ProcessorQueue
from kinstream.settings import CoreSettings
from kinstream_devkit.provision import provision


def _body(names: list[str]) -> dict[str, dict[str, str]]:
    return {"types": {"DataType": "String.Array", "StringValue": json.dumps(names)}}


def _received(settings: CoreSettings, processor: str) -> list[str]:
    sqs = blocking_client("sqs", settings)
    url = sqs.get_queue_url(QueueName=settings.names.processor_queue(processor))["QueueUrl"]
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    return sorted(message["Body"] for message in answer.get("Messages", []))


def test_each_processor_hears_of_the_types_it_handles_and_of_no_other(settings: CoreSettings) -> None:
    provision(settings, [ProcessorQueue("all", None), ProcessorQueue("views", ("content.viewed",))])
    sns = blocking_client("sns", settings)
    topic = settings.names.topic_arn("events")
    sns.publish(TopicArn=topic, Message="view", MessageAttributes=_body(["content.viewed", "a.b"]))
    sns.publish(TopicArn=topic, Message="other", MessageAttributes=_body(["a.b"]))

    assert _received(settings, "all") == ["other", "view"]
    assert _received(settings, "views") == ["view"]


def test_provisioning_again_keeps_what_is_there_and_follows_a_changed_processor(
    settings: CoreSettings,
) -> None:
    provision(settings, [ProcessorQueue("one", ("a.b",), visibility_timeout_seconds=60)])
    dynamodb = blocking_client("dynamodb", settings)
    table = settings.names.of("registry")
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "x"}, "sk": {"S": "y"}})

    provision(settings, [ProcessorQueue("one", ("c.d",), visibility_timeout_seconds=90)])

    assert dynamodb.scan(TableName=table)["Count"] == 1
    sqs = blocking_client("sqs", settings)
    url = sqs.get_queue_url(QueueName=settings.names.processor_queue("one"))["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "90"
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].endswith("processor-one-dlq")
    blocking_client("sns", settings).publish(
        TopicArn=settings.names.topic_arn("events"), Message="new", MessageAttributes=_body(["c.d"])
    )
    assert _received(settings, "one") == ["new"]


def test_tables_have_their_indexes_and_expire_their_items(settings: CoreSettings) -> None:
    provision(settings, [])
    dynamodb = blocking_client("dynamodb", settings)
    name = settings.names.of("counters")
    indexes = dynamodb.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"]
    assert {index["IndexName"] for index in indexes} == {"due", "trend"}
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert (ttl["AttributeName"], ttl["TimeToLiveStatus"]) == ("expires_at", "ENABLED")


def test_an_upload_is_told_to_its_queue(settings: CoreSettings) -> None:
    provision(settings, [])
    bucket = settings.names.of("uploads")
    blocking_client("s3", settings).put_object(Bucket=bucket, Key="demo/m1/original", Body=b"x")
    sqs = blocking_client("sqs", settings)
    url = sqs.get_queue_url(QueueName=settings.names.of("uploads"))["QueueUrl"]
    bodies = [
        json.loads(message["Body"])
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    ]
    keys = [record["s3"]["object"]["key"] for body in bodies for record in body.get("Records", [])]
    assert keys == ["demo/m1/original"]
