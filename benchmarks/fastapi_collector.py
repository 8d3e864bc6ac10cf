"""The peer of ingest in requests a second: a FastAPI route as most would write it. It keeps nothing."""

from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Identifier = Annotated[str, Field(min_length=1, max_length=128)]


class Event(BaseModel):
    """A native event with its plain rules, and any payload."""

    model_config = ConfigDict(extra="forbid")

    id: Identifier
    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$", max_length=64)]
    customer_id: Identifier
    occurred_at: AwareDatetime
    device_id: Annotated[str, Field(max_length=128)] = ""
    person_id: Annotated[str, Field(max_length=128)] = ""
    data: dict[str, Any] = Field(default_factory=dict)


class Taken(BaseModel):
    """The answer."""

    accepted: int
    rejected: list[str]


app = FastAPI()


@app.post("/v1/events", status_code=202)
async def collect(event: Event) -> Taken:
    """Take one event and forget it."""
    return Taken(accepted=bool(event.id), rejected=[])
