"""What is known of a customer: sessions, counters, alerts and recommendations."""

from typing import Annotated

from fastapi import APIRouter, Query

from ingest_api import composition
from ingest_api.answers import (
    Acknowledgement,
    AlertAnswer,
    AlertsAnswer,
    CustomerCountersAnswer,
    RecommendationsAnswer,
    SessionsAnswer,
)
from ingest_api.auth import Authenticator, Caller
from ingest_api.errors import not_found
from ingest_api.reads import Tables
from ingest_api.recommending import Recommender
from ingest_api.routes.access import Access
from ingest_api.routes.parameters import AlertId, Cursor, CustomerId, Limit
from ingest_api.session_reads import SessionQuery, SessionReads
from ingest_api.trending import MOST
from kinstream.clock import now_ms


def customer_router(
    tables: Tables, sessions: SessionReads, recommender: Recommender, authenticator: Authenticator
) -> APIRouter:
    """Routes about one customer. A secret key sees its own app's, a token its own."""
    router = APIRouter(prefix="/v1/customers/{customer_id}", tags=["customers"])
    access = Access(authenticator)
    reader, guardian = access.customer, access.guardian

    @router.get("/sessions", summary="Sessions that overlap a range of time")
    async def list_sessions(
        *,
        customer_id: CustomerId,
        start: Annotated[str | None, Query(alias="from", description="RFC 3339", max_length=64)] = None,
        end: Annotated[str | None, Query(alias="to", description="RFC 3339", max_length=64)] = None,
        device_id: Annotated[str | None, Query(max_length=128)] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
        caller: Caller = reader,
    ) -> SessionsAnswer:
        from_ms, to_ms = composition.parse_range(start, end)
        after = None if cursor is None else composition.decode_session_cursor(cursor)
        query = SessionQuery(caller.app, customer_id, from_ms, to_ms, limit, device_id, after)
        page, more = await sessions.page(query, now_ms())
        return SessionsAnswer(
            sessions=[
                composition.session_answer(
                    caller.app, customer_id, found.device_id, found.session, found.standing
                )
                for found in page
            ],
            next=composition.encode_cursor(page[-1].started_ms, page[-1].device_id) if more else None,
        )

    @router.get("/counters", summary="Events in all, by type, and since the last training")
    async def counters(customer_id: CustomerId, caller: Caller = reader) -> CustomerCountersAnswer:
        row = await tables.customer_counters(caller.app, customer_id)
        return composition.customer_counters(customer_id, row)

    @router.get("/alerts", summary="Alerts, newest first")
    async def list_alerts(
        customer_id: CustomerId, cursor: Cursor = None, limit: Limit = 100, caller: Caller = guardian
    ) -> AlertsAnswer:
        after = None if cursor is None else composition.decode_key_cursor(cursor)
        page = await tables.alerts(caller.app, customer_id, limit, after)
        return AlertsAnswer(
            alerts=[composition.alert_answer(row) for row in page.rows],
            next=composition.encode_cursor(page.last_sort_key) if page.last_sort_key else None,
        )

    @router.post("/alerts/{alert_id}/acknowledge", summary="Say that somebody has seen to an alert")
    async def acknowledge(
        customer_id: CustomerId, alert_id: AlertId, body: Acknowledgement, caller: Caller = guardian
    ) -> AlertAnswer:
        """A token acknowledges for its own person, whoever the body names."""
        by = caller.person_id or body.acknowledged_by
        row = await tables.acknowledge(caller.app, customer_id, alert_id, by)
        if row is None:
            raise not_found("this alert")
        return composition.alert_answer(row)

    @router.get("/recommendations", summary="What to show next; trending where no model chose yet")
    async def recommendations(
        customer_id: CustomerId,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 20,
        caller: Caller = reader,
    ) -> RecommendationsAnswer:
        return await recommender.recommend(caller.app, customer_id, limit, now_ms())

    return router
