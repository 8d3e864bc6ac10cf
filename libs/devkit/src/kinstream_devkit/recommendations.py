"""An operator's view of an app's recommendations: runs, what is served, and changes of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from kinstream import keys
from kinstream.dynamo import from_item, to_item, to_key
from kinstream.errors import PermanentError, RetryableError
from kinstream.resources import BUCKET_TRAINING, TABLE_RECOMMENDATIONS, Names
from kinstream.versions import MANIFEST, REPORT, Versions, guard, row_of, run_folder, versions_of

_ATTEMPTS = 5
ENDED = ("done", "failed")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """All that `kinstream recs status` tells. Times in milliseconds since 1970."""

    versions: Versions
    runs: list[Row]
    """As the trigger keeps them, newest first."""
    requested_at_ms: int | None
    """When a run was asked for that has not begun yet."""


class Recommendations:
    """Of one app. The trigger's rows are read, never written; only the pointer and the request are."""

    def __init__(self, dynamodb: Any, s3: Any, names: Names, app: str) -> None:
        self._dynamodb = dynamodb
        self._s3 = s3
        self._table = names.of(TABLE_RECOMMENDATIONS)
        self._bucket = names.of(BUCKET_TRAINING)
        self._app = app

    def standing(self, most_runs: int) -> Standing:
        """How things stand now."""
        request = self._get(keys.training_request(self._app))
        return Standing(self.versions(), self.runs(most_runs), request.get("requested_at_ms"))

    def versions(self) -> Versions:
        """What is served, and what can be gone back to."""
        return versions_of(self._get(keys.recommendation_pointer(self._app)))

    def runs(self, most: int) -> list[Row]:
        """The newest runs, newest first."""
        answer = self._dynamodb.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=to_item({":pk": keys.training_run(self._app, "")[0]}),
            ScanIndexForward=False,
            Limit=most,
            ConsistentRead=True,
        )
        return [from_item(item) for item in answer["Items"]]

    def run(self, run_id: str) -> Row:
        """One run; PermanentError where there is none."""
        row = self._get(keys.training_run(self._app, run_id))
        if not row:
            raise PermanentError(f"there is no run {run_id}; `kinstream recs status` lists them")
        return row

    def request_training(self, now_ms: int) -> None:
        """Ask the trigger for a run, whoever is due. Asking again changes nothing more."""
        key = to_key(keys.training_request(self._app))
        item = key | to_item({"requested_at_ms": now_ms})
        self._dynamodb.put_item(TableName=self._table, Item=item)

    def change(self, change: Callable[[Versions], Versions]) -> Versions:
        """Change what is served. The trigger may publish meanwhile: then it is made of what that left."""
        key = to_key(keys.recommendation_pointer(self._app))
        for _ in range(_ATTEMPTS):
            seen = self.versions()
            after = change(seen)
            try:
                self._dynamodb.put_item(
                    TableName=self._table, Item=key | to_item(row_of(after)), **guard(seen)
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                    raise
            else:
                return after
        raise RetryableError("what is served changes faster than it can be read; try again")

    def list_of(self, customer_id: str, run_id: str) -> Row | None:
        """A customer's list of one run."""
        return self._get(keys.recommendations(self._app, customer_id, run_id)) or None

    def manifest(self, run_id: str) -> Mapping[str, Any]:
        """What the job said of its run; PermanentError where it left nothing."""
        manifest: Mapping[str, Any] = json.loads(self._read(run_id, MANIFEST))
        return manifest

    def report(self, run_id: str) -> bytes:
        """The run's page; PermanentError where there is none."""
        return self._read(run_id, REPORT)

    def _read(self, run_id: str, name: str) -> bytes:
        key = run_folder(self._app, run_id) + name
        try:
            body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
                raise
            raise PermanentError(f"s3://{self._bucket}/{key} is not there: the job left none") from error
        return body

    def _get(self, key: keys.Key) -> Row:
        answer = self._dynamodb.get_item(TableName=self._table, Key=to_key(key), ConsistentRead=True)
        return from_item(answer.get("Item", {}))
