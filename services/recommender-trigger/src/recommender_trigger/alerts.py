"""What operators are told, on the topic `operations`."""

import json
from typing import Any

from kinstream.resources import TOPIC_OPERATIONS, Names


class Operations:
    """Tells people. At least once: who is told to repeat may tell the same again."""

    def __init__(self, sns: Any, names: Names) -> None:
        self._sns = sns
        self._topic_arn = names.topic_arn(TOPIC_OPERATIONS)

    async def tell(self, subject: str, kind: str, **facts: object) -> None:
        """One message; `kind` is what programs tell it by."""
        await self._sns.publish(
            TopicArn=self._topic_arn,
            Subject=f"Kinstream: {subject}",
            Message=json.dumps({"kind": kind, **facts}),
        )
