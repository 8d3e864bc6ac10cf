"""Sends media tasks to their queues."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from celery import Celery

from kinstream.catalog import Task
from kinstream.resources import Names
from kinstream.tracing import TRACEPARENT, carried
from media_worker.celery_app import TASK_NAME

SendTask = Callable[[UUID, Task], None]
"""(task id, what to do): returns once the queue has the task."""


class TaskSender:
    """Sends media tasks through Celery; the message holds ids and nothing else. For one thread.

    A connection that has failed once is closed and thrown away: kombu would go on with a channel of it that
    is closed, and fail with it for ever.
    """

    def __init__(self, app: Celery, names: Names) -> None:
        self._app = app
        self._names = names
        self._connection: Any = None

    def __call__(self, task_id: UUID, task: Task) -> None:
        """Returns once the queue has the task; whatever it raises, the next call begins anew."""
        if self._connection is None:
            self._connection = self._app.connection_for_write()
        sent = False
        try:
            self._app.send_task(
                TASK_NAME,
                args=(task.app, task.media_id, task.step),
                queue=self._names.of(task.queue),
                task_id=str(task_id),
                ignore_result=True,
                headers={TRACEPARENT: carried()},
                connection=self._connection,
                retry=False,
            )
            sent = True
        finally:
            if not sent:
                self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        # Its failure has an error of its own, which is the one to be told.
        with suppress(Exception):
            connection.release()
