"""Writes as TransactWriteItems takes them. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from kinstream.dynamo import Item, attribute, to_item, to_key
from kinstream.keys import Key
from session_worker.domain.sums import Sums


class Update:
    """Builds an update expression with placeholders for every name and value."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: Item = {}
        self._adds: list[str] = []
        self._sets: list[str] = []

    def name(self, name: str) -> str:
        """Placeholder of an attribute's name. DynamoDB refuses one that no expression uses."""
        return self._names.setdefault(name, f"#n{len(self._names)}")

    def value(self, value: dict[str, Any]) -> str:
        """Placeholder of a value."""
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = value
        return placeholder

    def add(self, name: str, value: dict[str, Any]) -> None:
        """Add to a number, unite with a set."""
        self._adds.append(f"{self.name(name)} {self.value(value)}")

    def set(self, name: str, value: dict[str, Any], *, unless_present: bool = False) -> None:
        """Set an attribute."""
        target, given = self.name(name), self.value(value)
        self._sets.append(
            f"{target} = if_not_exists({target}, {given})" if unless_present else f"{target} = {given}"
        )

    def add_all(self, sums: Sums) -> None:
        """Add all of it."""
        for name, by in sums.amounts.items():
            if by:
                self.add(name, attribute(by))
        for name, members in sums.members.items():
            if members:
                self.add(name, attribute(members))
        for name, label in sums.labels.items():
            self.set(name, attribute(label))

    def request(self, table: str, key: Key, condition: str | None) -> dict[str, Any]:
        """The write. A refusal brings the item as it is."""
        clauses = [("ADD", self._adds), ("SET", self._sets)]
        update: dict[str, Any] = {
            "TableName": table,
            "Key": to_key(key),
            "UpdateExpression": " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses if parts),
            "ExpressionAttributeNames": {placeholder: name for name, placeholder in self._names.items()},
            "ExpressionAttributeValues": self._values,
        }
        if condition:
            update["ConditionExpression"] = condition
            update["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return {"Update": update}


def all_of(conditions: Iterable[str | None]) -> str | None:
    """One condition of several."""
    held = [condition for condition in conditions if condition]
    return " AND ".join(f"({condition})" for condition in held) if len(held) > 1 else "".join(held) or None


def versioned_put(table: str, key: Key, values: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Replaces an item on condition of its version, 0 for none. A refusal brings the item as it is."""
    item = to_item({"pk": key[0], "sk": key[1], "version": version + 1, **values})
    put: dict[str, Any] = {
        "TableName": table,
        "Item": item,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    if version:
        put["ConditionExpression"] = "version = :version"
        put["ExpressionAttributeValues"] = {":version": attribute(version)}
    else:
        put["ConditionExpression"] = "attribute_not_exists(pk)"
    return {"Put": put}
