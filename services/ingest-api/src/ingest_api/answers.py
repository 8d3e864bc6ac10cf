"""The answers of the reading endpoints, as other programs rely on them: fields are added, never renamed."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Time = Annotated[
    str, Field(description="RFC 3339 in UTC with milliseconds", examples=["2026-11-20T18:04:05.123Z"])
]
Cursor = Annotated[
    str | None, Field(description="Hand it back as `cursor` for the next page; null on the last one")
]


class ErrorAnswer(BaseModel):
    """Every error has this form; docs/errors.md lists the codes."""

    code: str
    message: str
    detail: object | None = None


class SessionActivity(BaseModel):
    """What a part of a session went to. `share` is of engaged time, or of events where there is none."""

    name: str
    seconds: float
    share: float
    events: int


class SessionAnswer(BaseModel):
    """A run of one device's events with no gap longer than 30 minutes."""

    session_id: str
    device_id: str
    started_at: Time
    ended_at: Time
    event_count: int
    provisional: Annotated[
        bool, Field(description="Whether it has yet to be announced as `session.closed` as it stands")
    ]
    revision: Annotated[int, Field(description="That it has been, or will be, announced as")]
    supersedes: Annotated[
        list[str], Field(description="Sessions that were announced and are part of this one now")
    ]
    activities: Annotated[list[SessionActivity], Field(description="In order of priority")]
    content_ids: list[str]


class SessionsAnswer(BaseModel):
    """Sessions in order of (started_at, device_id)."""

    sessions: list[SessionAnswer]
    next: Cursor


class CustomerCountersAnswer(BaseModel):
    """A customer's events. `by_type` tells 200 types apart; the events of all later ones are in `(other)`."""

    customer_id: str
    events: int
    by_type: dict[str, int]
    events_since_training: int


class ContentCountersAnswer(BaseModel):
    """A content's counters. `unique_viewers` is an estimate with a standard error of 6.5 %."""

    content_id: str
    likes: int
    views: int
    unique_viewers: int
    unique_viewers_are_approximate: Literal[True] = True


class AlertAnswer(BaseModel):
    """One alert. `withdrawn_at` is set where later fixes disproved it."""

    alert_id: str
    kind: str
    person_id: str
    raised_at: Time
    resolved_at: Time | None
    withdrawn_at: Time | None
    latitude: float
    longitude: float
    acknowledged_by: str | None


class AlertsAnswer(BaseModel):
    """Alerts, newest first."""

    alerts: list[AlertAnswer]
    next: Cursor


class Recommendation(BaseModel):
    """One content and why."""

    content_id: str
    score: float
    because: list[str]


class RecommendationsAnswer(BaseModel):
    """What to show a customer; `source` says whether a model or the trend chose it.

    `variant` is the customer's arm while an experiment runs: a run's id, `trending`, or `served` for
    the rest.
    """

    customer_id: str
    source: Literal["model", "trending"]
    run_id: str | None
    variant: str | None
    items: list[Recommendation]


class TrendingItem(BaseModel):
    """One event of weight 1 right now scores 1; a week old, one half."""

    content_id: str
    score: float


class TrendingAnswer(BaseModel):
    """Contents by recency-weighted score, best first."""

    items: list[TrendingItem]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Acknowledgement(_Body):
    """Who has seen to an alert."""

    acknowledged_by: Annotated[str, Field(min_length=1, max_length=128)]


class PlaceBody(_Body):
    """A circle that the family knows: degrees (WGS 84) and metres."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
    radius_m: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]


class PlaceAnswer(PlaceBody):
    """A known place."""

    place_id: str


class PlacesAnswer(BaseModel):
    """Known places in order of their ids."""

    places: list[PlaceAnswer]
    next: Cursor


class PersonBody(_Body):
    """A member of the family."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    role: Literal["guardian", "child"]


class PersonAnswer(PersonBody):
    """A member of the family."""

    person_id: str


class HealthAnswer(BaseModel):
    """Whether the process lives, or is ready to take requests."""

    status: str
