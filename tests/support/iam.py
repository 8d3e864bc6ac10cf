"""The calls that services make on AWS, made with the credentials of a role that the emulator enforces."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.ministack import ministack

ACCOUNT = "000000000000"
REGION = "us-east-1"
ROOT_KEY = "local"
"""What the provisioner signs with: the emulator takes it for the account's root."""

_REFUSED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "403", "Forbidden"}
_KEY = {"pk": {"S": "app#x"}, "sk": {"S": "x"}}
_ONE = {":one": {"N": "1"}}
_UPDATE = {"Key": _KEY, "UpdateExpression": "ADD n :one", "ExpressionAttributeValues": _ONE}

Clients = Callable[[str], Any]


class Call(NamedTuple):
    """A call as the code makes it, and on what: `table/ledger`, `table/ledger/index/due`, `queue/uploads`."""

    operation: str
    on: str


@contextmanager
def enforcing_emulator() -> Iterator[str]:
    """Endpoint URL of an emulator that refuses what no policy allows."""
    variables = {"AUTH": "true", "AWS_ACCESS_KEY_ID": ROOT_KEY, "AWS_SECRET_ACCESS_KEY": ROOT_KEY}
    with ministack(variables=variables) as url:
        yield url


def root(endpoint: str) -> Clients:
    """Clients that may do anything."""
    return _clients(endpoint, aws_access_key_id=ROOT_KEY, aws_secret_access_key=ROOT_KEY)


def assumed(endpoint: str, role: str, policy: str) -> Clients:
    """Clients of a new role that may do what the policy says."""
    iam = root(endpoint)("iam")
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
    }
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=_document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=policy)
    answer = root(endpoint)("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return _clients(
        endpoint,
        aws_access_key_id=answer["AccessKeyId"],
        aws_secret_access_key=answer["SecretAccessKey"],
        aws_session_token=answer["SessionToken"],
    )


def is_allowed(clients: Clients, prefix: str, call: Call) -> bool:
    """Whether AWS lets the role make the call; what else comes of it is of no interest."""
    kind, _, name = call.on.partition("/")
    try:
        _MAKE[f"{kind}.{call.operation}"](clients, f"{prefix}-{name}" if name else prefix)
    except ClientError as error:
        return error.response["Error"]["Code"] not in _REFUSED
    return True


def _clients(endpoint: str, **credentials: str) -> Clients:
    session = boto3.session.Session(region_name=REGION, **credentials)
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    return lambda service: session.client(service, endpoint_url=endpoint, config=config)


def _document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _queue_url(clients: Clients, name: str) -> str:
    return f"{clients('sqs').meta.endpoint_url}/{ACCOUNT}/{name}"


def _topic(name: str) -> str:
    return f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}"


def _transact(clients: Clients, part: Mapping[str, Any]) -> None:
    clients("dynamodb").transact_write_items(TransactItems=[part])


def _query(clients: Clients, table: str) -> None:
    table, _, index = table.partition("/index/")
    attribute = {"due": "due_shard", "trend": "trend_shard", "pending": "pending_shard"}.get(index, "pk")
    clients("dynamodb").query(
        TableName=table,
        KeyConditionExpression="#key = :key",
        ExpressionAttributeNames={"#key": attribute},
        ExpressionAttributeValues={":key": {"S": "x"}},
        **({"IndexName": index} if index else {}),
    )


def _post_upload(clients: Clients, bucket: str) -> None:
    """As a phone does: the form's signer is who must be allowed to put."""
    form = clients("s3").generate_presigned_post(bucket, "app/m-1/original")
    edge = "----form"
    fields = "".join(
        f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form["fields"].items()
    )
    body = f'{fields}--{edge}\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--{edge}--\r\n'
    _fetch(form["url"], body.encode(), {"Content-Type": f"multipart/form-data; boundary={edge}"})


def _fetch(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> None:
    """As a phone does, which has no credentials of its own."""
    answer = httpx.request("POST" if body else "GET", url, content=body, headers=headers, trust_env=False)
    if answer.is_error:
        raise ClientError({"Error": {"Code": str(answer.status_code)}}, "presigned")


def _launch(clients: Clients, prefix: str) -> str:
    answer = clients("emr").run_job_flow(
        Name=f"{prefix}-training-run",
        ReleaseLabel="emr-7.13.0",
        Instances={"KeepJobFlowAliveWhenNoSteps": True},
        ServiceRole=f"{prefix}-emr-service",
        JobFlowRole=f"{prefix}-emr-nodes",
        Tags=[
            {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"},
            {"Key": "kinstream-deployment", "Value": prefix},
        ],
    )
    return str(answer["JobFlowId"])


def _delete_objects(clients: Clients, bucket: str) -> None:
    """Each key is refused by itself."""
    answer = clients("s3").delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": _object(bucket)}]})
    for error in answer.get("Errors", []):
        raise ClientError({"Error": {"Code": error["Code"]}}, "DeleteObjects")


def _cluster(clients: Clients, prefix: str) -> str:
    """One of the deployment's own, where the role may see any."""
    root_clients = root(clients("emr").meta.endpoint_url)
    found = root_clients("emr").list_clusters()["Clusters"]
    return str(found[0]["Id"]) if found else _launch(root_clients, prefix)


def _object(bucket: str) -> str:
    """A key such as the bucket's users write."""
    return {
        "uploads": "app/m-1/original",
        "quarantine": "app=app/dt=2026-01-01/x.ndjson",
        "archive": "events/app=app/dt=2026-01-01/x.parquet",
    }.get(bucket.rpartition("-")[2], "app/x")


_RECEIPT = {"Id": "0", "ReceiptHandle": "none"}

_MAKE: Mapping[str, Callable[[Clients, str], Any]] = {
    "topic.publish": lambda c, name: c("sns").publish(TopicArn=_topic(name), Message="x"),
    "topic.publish_batch": lambda c, name: c("sns").publish_batch(
        TopicArn=_topic(name), PublishBatchRequestEntries=[{"Id": "0", "Message": "x"}]
    ),
    "topic.get_topic_attributes": lambda c, name: c("sns").get_topic_attributes(TopicArn=_topic(name)),
    "queue.get_queue_url": lambda c, name: c("sqs").get_queue_url(QueueName=name),
    "queue.get_queue_attributes": lambda c, name: c("sqs").get_queue_attributes(
        QueueUrl=_queue_url(c, name), AttributeNames=["ApproximateNumberOfMessages"]
    ),
    "queue.send_message": lambda c, name: c("sqs").send_message(
        QueueUrl=_queue_url(c, name), MessageBody="x"
    ),
    "queue.receive_message": lambda c, name: c("sqs").receive_message(QueueUrl=_queue_url(c, name)),
    "queue.delete_message": lambda c, name: c("sqs").delete_message(
        QueueUrl=_queue_url(c, name), ReceiptHandle="none"
    ),
    "queue.change_message_visibility": lambda c, name: c("sqs").change_message_visibility(
        QueueUrl=_queue_url(c, name), ReceiptHandle="none", VisibilityTimeout=1
    ),
    "queue.delete_message_batch": lambda c, name: c("sqs").delete_message_batch(
        QueueUrl=_queue_url(c, name), Entries=[_RECEIPT]
    ),
    "queue.change_message_visibility_batch": lambda c, name: c("sqs").change_message_visibility_batch(
        QueueUrl=_queue_url(c, name), Entries=[_RECEIPT | {"VisibilityTimeout": 1}]
    ),
    "table.get_item": lambda c, name: c("dynamodb").get_item(TableName=name, Key=_KEY),
    "table.batch_get_item": lambda c, name: c("dynamodb").batch_get_item(
        RequestItems={name: {"Keys": [_KEY]}}
    ),
    "table.query": _query,
    "table.put_item": lambda c, name: c("dynamodb").put_item(TableName=name, Item=_KEY),
    "table.update_item": lambda c, name: c("dynamodb").update_item(TableName=name, **_UPDATE),
    "table.delete_item": lambda c, name: c("dynamodb").delete_item(TableName=name, Key=_KEY),
    "table.batch_write_item": lambda c, name: c("dynamodb").batch_write_item(
        RequestItems={name: [{"PutRequest": {"Item": _KEY}}]}
    ),
    "table.transact_put": lambda c, name: _transact(c, {"Put": {"TableName": name, "Item": _KEY}}),
    "table.transact_update": lambda c, name: _transact(c, {"Update": {"TableName": name, **_UPDATE}}),
    "table.transact_check": lambda c, name: _transact(
        c,
        {
            "ConditionCheck": {
                "TableName": name,
                "Key": _KEY,
                "ConditionExpression": "attribute_not_exists(nothing)",
            }
        },
    ),
    "bucket.head_bucket": lambda c, name: c("s3").head_bucket(Bucket=name),
    "bucket.list_objects": lambda c, name: c("s3").list_objects_v2(Bucket=name),
    "bucket.get_object": lambda c, name: c("s3").get_object(Bucket=name, Key=_object(name)),
    "bucket.put_object": lambda c, name: c("s3").put_object(Bucket=name, Key=_object(name), Body=b"x"),
    "bucket.delete_objects": _delete_objects,
    "bucket.abort_upload": lambda c, name: c("s3").abort_multipart_upload(
        Bucket=name, Key=_object(name), UploadId="none"
    ),
    "bucket.sign_upload": _post_upload,
    "bucket.sign_download": lambda c, name: _fetch(
        c("s3").generate_presigned_url("get_object", Params={"Bucket": name, "Key": _object(name)})
    ),
    "tasks.protect": lambda c, prefix: c("ecs").update_task_protection(
        cluster=prefix, tasks=[f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{prefix}/x"], protectionEnabled=True
    ),
    "clusters.list": lambda c, _: c("emr").list_clusters(),
    "clusters.launch": _launch,
    "clusters.describe": lambda c, prefix: c("emr").describe_cluster(ClusterId=_cluster(c, prefix)),
    "clusters.list_steps": lambda c, prefix: c("emr").list_steps(ClusterId=_cluster(c, prefix)),
    "clusters.terminate": lambda c, prefix: c("emr").terminate_job_flows(JobFlowIds=[_cluster(c, prefix)]),
}
