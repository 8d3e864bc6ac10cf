"""The one form of every error that ingest-api answers with. `docs/errors.md` lists the codes."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any


class ApiError(Exception):
    """An answer that is an error: status, stable code, a sentence for people, detail for programs."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        detail: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """What the client reads."""
        return {"code": self.code, "message": self.message, "detail": self.detail}


def unavailable(message: str, *, code: str = "unavailable", retry_after_seconds: int = 2) -> ApiError:
    """503: nothing is wrong with the request, and the same request may succeed in a moment."""
    headers = {"Retry-After": str(retry_after_seconds)}
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, code, message, headers=headers)


def not_found(what: str) -> ApiError:
    """404, also for what belongs to another app: a caller learns nothing of other apps."""
    return ApiError(HTTPStatus.NOT_FOUND, "not_found", f"{what} is not known here")
