"""Gives every error of FastAPI's router the one form of `ingest_api.errors`."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ingest_api.errors import ApiError

log = logging.getLogger(__name__)

_OF_STATUS = {
    400: ("invalid_json", "the body is no JSON"),
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take this method"),
    408: ("body_too_slow", "the body was not whole in time; send the same request again"),
    413: ("body_too_large", "the body is too large"),
}


def install(app: FastAPI) -> None:
    """Let `app` answer each error as {"code", "message", "detail"}."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(Exception, _on_bug)


def _answer(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body, error.status, error.headers)


async def _on_api_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return _answer(error)


async def _on_http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code, message = _OF_STATUS.get(error.status_code, ("invalid_request", str(error.detail)))
    # What is left of such a body is nothing to wait for.
    headers = {"Connection": "close"} if error.status_code in (408, 413) else error.headers
    return _answer(ApiError(error.status_code, code, message, headers=headers))


async def _on_invalid_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # What was sent is not repeated: it may be what a log or a screen should not hold.
    wrong = [{"field": _field(one["loc"]), "problem": one["msg"]} for one in error.errors()]
    if any(one["type"] == "json_invalid" for one in error.errors()):
        return _answer(ApiError(HTTPStatus.BAD_REQUEST, *_OF_STATUS[400], wrong))
    message = "; ".join(f"{one['field']}: {one['problem']}" for one in wrong[:3])
    return _answer(ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", message, wrong))


async def _on_bug(_: Request, error: Exception) -> JSONResponse:
    log.error("a request failed in an unforeseen way", exc_info=error)
    return _answer(ApiError(500, "internal", "this is our mistake; send the same request again"))


def _field(location: tuple[Any, ...]) -> str:
    """`body.name` becomes `name`: where it stood is plain from the request."""
    parts = [str(part).encode(errors="replace").decode() for part in location]
    return ".".join(parts[1:] or parts)
