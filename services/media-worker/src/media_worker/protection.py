"""Asks ECS to leave a task alone while it works on a file.

Guarantee: none, it is a wish. Where it is not heard the task may be scaled in, and its files are worked on
again.
"""

import json
import logging
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 3.0
_MOST_MINUTES = 2_880


class TaskProtection:
    """Protects the task that this process is part of, by the agent that ECS gives it.

    It is never taken back: another process of the task may be at work still. It runs out instead.
    """

    def __init__(self, agent_url: str | None, hold_seconds: float) -> None:
        self._agent_url = agent_url
        self._minutes = min(_MOST_MINUTES, max(1, -int(-hold_seconds // 60)))

    def renew(self) -> None:
        """Protected for `hold_seconds` from now, in whole minutes. Nothing happens outside ECS."""
        if self._agent_url is None:
            return
        try:
            self._ask(self._agent_url)
        except (HTTPException, OSError) as error:
            log.warning("task not protected", extra={"error": str(error) or type(error).__name__})

    def _ask(self, agent_url: str) -> None:
        agent = urlsplit(agent_url)
        body = json.dumps({"ProtectionEnabled": True, "ExpiresInMinutes": self._minutes})
        # Not urllib: it would ask a configured proxy for an address that only this task can reach.
        connection = HTTPConnection(agent.netloc, timeout=_TIMEOUT_SECONDS)
        try:
            path = f"{agent.path.rstrip('/')}/task-protection/v1/state"
            connection.request("PUT", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise HTTPException(f"{answer.status} {text[:200].decode(errors='replace')}")
        finally:
            connection.close()
