"""Where things lie in DynamoDB: one function a kind of item, so that writers and readers agree.

Every key of a customer's data begins with the app. `(pk, sk)` unless the function says otherwise.
"""

from base64 import urlsafe_b64encode
from hashlib import blake2b

from kinstream.ledger_format import join_key, split_key

CONTENT_SLOTS = 16
"""Rows over which a content's counters are spread; a reader sums them."""

JOURNAL_PARTS = 4
"""Partitions over which a slot's journal is spread: one worker's writes are near what a single one takes."""

ROLLED_UP_TO = "rolled_up_to"
"""Attribute of a counter's slot: the number of the last batch of the journal that is in it."""

DUE_SHARD = "due"
PENDING_SHARDS = 4
LEDGER_DUE_SHARDS = 4

Key = tuple[str, str]

_TOTAL = "total"


def counter(app: str, *parts: str) -> Key:
    """Counters table: any counter, by its name in parts."""
    return total(join_key(app, *parts))


def total(partition: str) -> Key:
    """Counters table: a counter, by its partition key."""
    return partition, _TOTAL


def customer_counters(app: str, customer_id: str) -> Key:
    """Counters table: `events`, `events_since_training` and `type:<event type>` of a customer."""
    return counter(app, "customer", customer_id)


def content_counters(app: str, content_id: str, slot: int) -> Key:
    """Counters table: `likes`, `views` and `viewers` of a content, one of its slots."""
    return counter(app, "content", content_id, str(slot))


def journal_part(slot: int, part: int) -> str:
    """Counters table: partition key of the entries in one part of a slot's journal, which is no app's."""
    return join_key("", "journal", str(slot), str(part))


def journal_entry(slot: int, added_at_ms: int, name: str) -> Key:
    """Counters table: what one transaction adds to counters of a slot. The oldest sorts first."""
    digest = urlsafe_b64encode(blake2b(name.encode(), digest_size=9).digest()).decode()
    return journal_entry_of(slot, f"{added_at_ms:013d}-{digest}")


def journal_entry_of(slot: int, sort_key: str) -> Key:
    """The key of an entry, by its sort key."""
    part = blake2b(sort_key.encode(), digest_size=1).digest()[0] % JOURNAL_PARTS
    return journal_part(slot, part), sort_key


def journal_batch(slot: int) -> Key:
    """Counters table: the batch of a slot's journal that is being added to its counters, or was last."""
    return join_key("", "journal", str(slot)), "batch"


def like(app: str, customer_id: str, content_id: str) -> Key:
    """Records table: the last like or unlike of a customer for a content."""
    return join_key(app, "likes", customer_id), join_key(content_id)


def alert(app: str, customer_id: str, alert_id: str) -> Key:
    """Records table: one alert. `alert_id` begins with the time it was raised at, so newest sorts last."""
    return join_key(app, "alerts", customer_id), alert_id


def announcement(app: str, announcement_id: str) -> Key:
    """Outbox table."""
    return join_key(app, announcement_id), _TOTAL


def pending_shard(announcement_id: str) -> str:
    """Partition of the outbox's pending index."""
    return str(blake2b(announcement_id.encode(), digest_size=1).digest()[0] % PENDING_SHARDS)


def ledger_due_shard(processor: str, number: int) -> str:
    """Partition of the ledger's due index: one of a processor's."""
    return join_key(processor, str(number))


def ledger_due_shard_of(partition: str) -> str:
    """Partition of the ledger's due index that the buckets under a partition key lie in."""
    number = blake2b(partition.encode(), digest_size=1).digest()[0] % LEDGER_DUE_SHARDS
    return ledger_due_shard(split_key(partition)[1], number)


def closing_progress(shard: str) -> Key:
    """Records table: how far a shard of the due index has been walked, and who walks it."""
    return "closing", shard


def generations(processor: str) -> Key:
    """Registry table: which generation of a processor's results is `served`, and which is `building`."""
    return "generations", processor


def app(app_id: str) -> Key:
    """Registry table: an app."""
    return "apps", app_id


def api_key(app_id: str, key_hash: str) -> Key:
    """Registry table: an API key, by the SHA-256 of its text."""
    return join_key(app_id, "keys"), key_hash


def place(app_id: str, customer_id: str, place_id: str) -> Key:
    """Registry table: a known place."""
    return join_key(app_id, "places", customer_id), join_key(place_id)


def person(app_id: str, customer_id: str, person_id: str) -> Key:
    """Registry table: a member of the family."""
    return join_key(app_id, "people", customer_id), join_key(person_id)


def app_rules(app_id: str) -> Key:
    """Registry table: an app's rules, see `kinstream.app_rules`."""
    return join_key(app_id, "rules"), "current"


def event_schema(app_id: str, event_type: str) -> Key:
    """Registry table: the JSON Schema of an app's event type: `type`, `version`, `schema` (its text)."""
    return join_key(app_id, "schemas"), event_type


def recommendations(app_id: str, customer_id: str, run_id: str) -> Key:
    """Recommendations table: a customer's list from one run."""
    return join_key(app_id, "customer", customer_id), run_id


def recommendation_pointer(app_id: str) -> Key:
    """Recommendations table: which run is served."""
    return join_key(app_id, "pointer"), "current"


def training_run(app_id: str, run_id: str) -> Key:
    """Recommendations table: one run, its state and its figures."""
    return join_key(app_id, "runs"), run_id


def training_lock(app_id: str) -> Key:
    """Recommendations table: the lease of the one run that may be under way."""
    return join_key(app_id, "lock"), "current"


def training_request(app_id: str) -> Key:
    """Recommendations table: an operator's wish for a run, until the run takes it up."""
    return join_key(app_id, "request"), "current"
