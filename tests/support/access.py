"""For every route of the API: who may call it, and a call that is in order."""

from dataclasses import dataclass, field
from typing import Any, Literal

Who = Literal[
    "anybody",  # no key
    "signed",  # whoever has a URL that is signed; keys and tokens open nothing
    "keys",  # any key; no token
    "servers",  # secret keys alone
    "readers",  # secret keys and tokens; the same for every customer
    "customer",  # secret keys, and tokens of the customer that the address names
    "guardian",  # the same, and no child
    "declarer",  # any key, and tokens of the customer that the body names
    "owner",  # secret keys, and tokens of the customer that the thing of this id belongs to
]

CUSTOMER = "fam/1"
ALERT, PLACE, PERSON, CONTENT, DEVICE = "0001-alert", "home/1", "kid-1", "story-7", "ipad-1"


@dataclass(frozen=True)
class Case:
    """A route. `names_a_thing`: its address has the id of something that is there or not, so that another
    app's is 404; without it another app finds nothing, or writes what is its own."""

    who: Who
    status: int = 200
    body: dict[str, Any] | None = None
    query: dict[str, str] = field(default_factory=dict)
    names_a_thing: bool = False


CASES: dict[tuple[str, str], Case] = {
    ("GET", "/healthz"): Case("anybody"),
    ("GET", "/readyz"): Case("anybody"),
    ("GET", "/metrics"): Case("anybody"),
    ("GET", "/v1/content/{content_id}/counters"): Case("readers"),
    ("GET", "/v1/trending"): Case("readers"),
    ("GET", "/v1/customers/{customer_id}/sessions"): Case("customer"),
    ("GET", "/v1/customers/{customer_id}/counters"): Case("customer"),
    ("GET", "/v1/customers/{customer_id}/recommendations"): Case("customer"),
    ("GET", "/v1/customers/{customer_id}/alerts"): Case("guardian"),
    ("POST", "/v1/customers/{customer_id}/alerts/{alert_id}/acknowledge"): Case(
        "guardian", body={"acknowledged_by": "stranger"}, names_a_thing=True
    ),
    ("GET", "/v1/customers/{customer_id}/places"): Case("guardian"),
    ("GET", "/v1/customers/{customer_id}/places/{place_id}"): Case("guardian", names_a_thing=True),
    ("PUT", "/v1/customers/{customer_id}/places/{place_id}"): Case(
        "guardian", body={"name": "Changed", "latitude": 1.0, "longitude": 1.0, "radius_m": 9.0}
    ),
    ("DELETE", "/v1/customers/{customer_id}/places/{place_id}"): Case(
        "guardian", status=204, names_a_thing=True
    ),
    ("GET", "/v1/customers/{customer_id}/people/{person_id}"): Case("guardian", names_a_thing=True),
    ("PUT", "/v1/customers/{customer_id}/people/{person_id}"): Case(
        "guardian", body={"name": "Changed", "role": "guardian"}
    ),
    ("GET", "/v1/signing-key"): Case("servers"),
    ("GET", "/v1/stream"): Case("customer", query={"customer_id": CUSTOMER}),
    ("POST", "/v1/stream-urls"): Case("customer", query={"customer_id": CUSTOMER}),
    ("GET", "/v1/media"): Case("customer", query={"customer_id": CUSTOMER}),
    ("GET", "/v1/media/{media_id}/files/{file_name}"): Case("signed"),
    ("GET", "/v1/media/{media_id}/image"): Case("signed"),
    ("POST", "/v1/media/{media_id}/image-urls"): Case(
        "owner", body={"images": [{"w": 640}]}, names_a_thing=True
    ),
    ("GET", "/v1/media/{media_id}"): Case("owner", names_a_thing=True),
    ("POST", "/v1/media"): Case(
        "declarer",
        status=201,
        body={"customer_id": CUSTOMER, "content_type": "image/jpeg", "bytes": 1_000},
    ),
}

_SENDING = (
    "POST /v1/events",
    "POST /v1/cloudevents",
    # Segment and RudderStack
    "POST /v1/batch",
    "POST /v1/import",
    "POST /v1/b",
    "POST /v1/track",
    "POST /v1/t",
    "POST /v1/identify",
    "POST /v1/i",
    "POST /v1/page",
    "POST /v1/p",
    "POST /v1/screen",
    "POST /v1/s",
    "POST /v1/group",
    "POST /v1/g",
    "POST /v1/alias",
    "POST /v1/a",
    # Snowplow
    "POST /com.snowplowanalytics.snowplow/tp2",
    "GET /i",
    # PostHog
    "POST /batch",
    "POST /batch/",
    "POST /capture",
    "POST /capture/",
    "POST /e",
    "POST /e/",
    "POST /track",
    "POST /track/",
    "POST /i/v0/e",
    "POST /i/v0/e/",
    "POST /i/v1/analytics/events",
)
CASES |= {(method, path): Case("keys") for method, path in map(str.split, _SENDING)}


def operations(page: dict[str, Any]) -> set[tuple[str, str]]:
    """(method, path) of everything that an OpenAPI page describes."""
    return {(method.upper(), path) for path, item in page["paths"].items() for method in item}
