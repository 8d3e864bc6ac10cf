"""What stands in an emulator under a prefix, as AWS itself describes it."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from kinstream.resources import Resources

State = dict[str, Any]


class AwsState:
    """Reads one emulator."""

    def __init__(self, endpoint: str) -> None:
        session = boto3.session.Session(
            region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        self._client = lambda name: session.client(
            name, endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"})
        )

    def of(self, resources: Resources) -> State:
        """Tables, queues, subscriptions and buckets, with the prefix taken out of every name."""
        state = {
            "tables": [self._table(table.name) for table in resources.tables],
            "queues": [self._queue(queue.name) for queue in resources.queues],
            "subscriptions": sorted(
                subscription for topic in resources.topics for subscription in self._subscriptions(topic)
            ),
            "buckets": [self._bucket(bucket.name) for bucket in resources.buckets],
        }
        plain: State = json.loads(json.dumps(state).replace(resources.names.prefix, "PREFIX"))
        return plain

    def named(self, prefix: str) -> set[str]:
        """Names of everything that is left under a prefix, of the kinds that hold data or cost money."""
        client = self._client
        names = [
            *client("dynamodb").list_tables()["TableNames"],
            *(url.rpartition("/")[2] for url in client("sqs").list_queues().get("QueueUrls", [])),
            *(topic["TopicArn"].rpartition(":")[2] for topic in client("sns").list_topics()["Topics"]),
            *(bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]),
            *(role["RoleName"] for role in client("iam").list_roles()["Roles"]),
            *(
                found["DBInstanceIdentifier"]
                for found in client("rds").describe_db_instances()["DBInstances"]
            ),
            *(
                found["LoadBalancerName"]
                for found in client("elbv2").describe_load_balancers()["LoadBalancers"]
            ),
            *(
                found["ReplicationGroupId"]
                for found in client("elasticache").describe_replication_groups()["ReplicationGroups"]
            ),
            *(arn.rpartition("/")[2] for arn in client("ecs").list_clusters()["clusterArns"]),
            *(found["Name"].strip("/") for found in client("ssm").describe_parameters()["Parameters"]),
            *(found["Name"] for found in client("secretsmanager").list_secrets()["SecretList"]),
            *(
                found["logGroupName"].strip("/")
                for found in client("logs").describe_log_groups()["logGroups"]
            ),
            *(found["AlarmName"] for found in client("cloudwatch").describe_alarms()["MetricAlarms"]),
        ]
        return {name for name in names if name.startswith(prefix)}

    def _table(self, name: str) -> State:
        dynamodb = self._client("dynamodb")
        table = dynamodb.describe_table(TableName=name)["Table"]
        ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        return {
            "name": name,
            "keys": table["KeySchema"],
            "attributes": sorted(table["AttributeDefinitions"], key=lambda one: one["AttributeName"]),
            "billing": table["BillingModeSummary"]["BillingMode"],
            "ttl": [ttl["TimeToLiveStatus"], ttl["AttributeName"]],
            "indexes": sorted(
                [index["IndexName"], index["KeySchema"], index["Projection"]["ProjectionType"]]
                for index in table.get("GlobalSecondaryIndexes", [])
            ),
        }

    def _queue(self, name: str) -> State:
        attributes, dead_letters = (self._attributes(full) for full in (name, f"{name}-dlq"))
        return {
            "name": name,
            "visibility": attributes["VisibilityTimeout"],
            "redrive": json.loads(attributes["RedrivePolicy"]),
            "senders": sorted(_senders(attributes.get("Policy", "{}"))),
            "retention": dead_letters["MessageRetentionPeriod"],
        }

    def _attributes(self, name: str) -> dict[str, str]:
        sqs = self._client("sqs")
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found: dict[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return found

    def _subscriptions(self, topic: str) -> Iterator[list[str]]:
        sns = self._client("sns")
        arn = f"arn:aws:sns:us-east-1:000000000000:{topic}"
        for found in sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]:
            if found["Protocol"] == "sqs":
                attributes = sns.get_subscription_attributes(SubscriptionArn=found["SubscriptionArn"])
                values = attributes["Attributes"]
                wanted = json.dumps(json.loads(values.get("FilterPolicy") or "{}"), sort_keys=True)
                yield [topic, found["Endpoint"], values["RawMessageDelivery"], wanted]

    def _bucket(self, name: str) -> State:
        s3 = self._client("s3")
        notified = s3.get_bucket_notification_configuration(Bucket=name).get("QueueConfigurations", [])
        return {
            "name": name,
            "notifies": [[one["QueueArn"], one["Events"]] for one in notified],
            "cors": [
                {
                    header: sorted(value) if isinstance(value, list) else value
                    for header, value in rule.items()
                }
                for rule in _or_none(lambda: s3.get_bucket_cors(Bucket=name)["CORSRules"]) or []
            ],
            "expires": [
                [rule["ID"], rule["Status"], rule["Expiration"], rule["AbortIncompleteMultipartUpload"]]
                for rule in _or_none(lambda: s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"])
                or []
                if "Expiration" in rule
            ],
        }


def _senders(policy: str) -> Iterator[list[str]]:
    for statement in json.loads(policy).get("Statement", []):
        if statement["Effect"] == "Allow":
            source = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
            yield [statement["Principal"]["Service"], statement["Action"], statement["Resource"], source]


def _or_none(read: Any) -> Any:
    """What is not set is an error to S3."""
    try:
        return read()
    except ClientError:
        return None
