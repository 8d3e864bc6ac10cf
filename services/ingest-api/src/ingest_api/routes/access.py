"""Who may call a route, as FastAPI dependencies. Every route but those of health has one of them, or is
called by a signed URL (`routes/links.py`).

A secret key sees all customers of its app. A token sees its own customer alone: every other id is 404, as
if there were nothing. Alerts, places and people are for guardians; a child's token reads the rest and
declares uploads.
"""

from typing import Annotated, Any

from fastapi import Depends, Query, Request

from ingest_api.auth import Authenticator, Caller
from ingest_api.routes.parameters import CustomerId

NO_NUL = r"^[^\x00]+$"
"""Postgres holds no text with a NUL in it."""

QueriedCustomerId = Annotated[str, Query(min_length=1, max_length=128, pattern=NO_NUL)]


class Access:
    """The dependencies, each of which gives the route its `Caller`."""

    def __init__(self, authenticator: Authenticator) -> None:
        async def declarer(request: Request) -> Caller:
            return await authenticator.declarer(authorization(request))

        async def reader(request: Request) -> Caller:
            return await authenticator.reader(authorization(request))

        async def server(caller: Annotated[Caller, Depends(reader)]) -> Caller:
            caller.require_server()
            return caller

        # The caller comes first: who is nobody hears nothing of what else is wrong.
        async def customer(caller: Annotated[Caller, Depends(reader)], customer_id: CustomerId) -> Caller:
            caller.require_customer(customer_id)
            return caller

        async def queried_customer(
            caller: Annotated[Caller, Depends(reader)], customer_id: QueriedCustomerId
        ) -> Caller:
            caller.require_customer(customer_id)
            return caller

        async def guardian(caller: Annotated[Caller, Depends(customer)]) -> Caller:
            caller.require_guardian()
            return caller

        self.declarer: Any = Depends(declarer)
        """For declaring uploads. The customer is in the body: the route asks `require_customer`."""
        self.reader: Any = Depends(reader)
        """For what all of an app may read, and for ids that tell no customer before they are looked up."""
        self.server: Any = Depends(server)
        """For what would let its holder speak for the whole app: secret keys alone."""
        self.customer: Any = Depends(customer)
        """For routes with {customer_id} in their path."""
        self.queried_customer: Any = Depends(queried_customer)
        """For routes with ?customer_id=."""
        self.guardian: Any = Depends(guardian)
        """As `customer`, and no child."""


def authorization(request: Request) -> bytes:
    """What the caller shows of itself."""
    return request.headers.get("authorization", "").encode()
