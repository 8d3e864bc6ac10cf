"""What a family tells of itself: known places and people."""

from http import HTTPStatus

from fastapi import APIRouter

from ingest_api import composition
from ingest_api.answers import PersonAnswer, PersonBody, PlaceAnswer, PlaceBody, PlacesAnswer
from ingest_api.auth import Authenticator, Caller
from ingest_api.errors import not_found
from ingest_api.reads import Row, Tables
from ingest_api.routes.access import Access
from ingest_api.routes.parameters import Cursor, CustomerId, Limit, PersonId, PlaceId


def family_router(tables: Tables, authenticator: Authenticator) -> APIRouter:
    """Routes about places and people, for secret keys and guardians."""
    router = APIRouter(prefix="/v1/customers/{customer_id}", tags=["family"])
    guardian = Access(authenticator).guardian

    @router.get("/places", summary="Known places")
    async def list_places(
        customer_id: CustomerId, cursor: Cursor = None, limit: Limit = 100, caller: Caller = guardian
    ) -> PlacesAnswer:
        after = None if cursor is None else composition.decode_key_cursor(cursor)
        page = await tables.places(caller.app, customer_id, limit, after)
        return PlacesAnswer(
            places=[PlaceAnswer(**_known(row, PlaceAnswer)) for row in page.rows],
            next=composition.encode_cursor(page.last_sort_key) if page.last_sort_key else None,
        )

    @router.put("/places/{place_id}", summary="Make a place known, or change it")
    async def put_place(
        customer_id: CustomerId, place_id: PlaceId, body: PlaceBody, caller: Caller = guardian
    ) -> PlaceAnswer:
        place = PlaceAnswer(place_id=place_id, **body.model_dump())
        await tables.put_place(caller.app, customer_id, place.model_dump())
        return place

    @router.get("/places/{place_id}", summary="A known place")
    async def get_place(customer_id: CustomerId, place_id: PlaceId, caller: Caller = guardian) -> PlaceAnswer:
        row = await tables.place(caller.app, customer_id, place_id)
        if row is None:
            raise not_found("this place")
        return PlaceAnswer(**_known(row, PlaceAnswer))

    @router.delete(
        "/places/{place_id}", summary="Forget a place", status_code=HTTPStatus.NO_CONTENT, response_model=None
    )
    async def delete_place(customer_id: CustomerId, place_id: PlaceId, caller: Caller = guardian) -> None:
        if not await tables.delete_place(caller.app, customer_id, place_id):
            raise not_found("this place")

    @router.put("/people/{person_id}", summary="Make a member of the family known, or change one")
    async def put_person(
        customer_id: CustomerId, person_id: PersonId, body: PersonBody, caller: Caller = guardian
    ) -> PersonAnswer:
        person = PersonAnswer(person_id=person_id, **body.model_dump())
        await tables.put_person(caller.app, customer_id, person.model_dump())
        return person

    @router.get("/people/{person_id}", summary="A member of the family")
    async def get_person(
        customer_id: CustomerId, person_id: PersonId, caller: Caller = guardian
    ) -> PersonAnswer:
        row = await tables.person(caller.app, customer_id, person_id)
        if row is None:
            raise not_found("this person")
        return PersonAnswer(**_known(row, PersonAnswer))

    return router


def _known(row: Row, model: type[PlaceAnswer | PersonAnswer]) -> Row:
    """What the answer tells of a row; its keys and what later versions add stay inside."""
    return {name: row[name] for name in model.model_fields}
