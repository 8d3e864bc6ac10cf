"""What several commands share: the running stack that they work on."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kinstream.errors import PermanentError

if TYPE_CHECKING:
    from kinstream.registry import KeyKind
    from kinstream.resources import Names
    from kinstream_devkit.app_rules import RuleBook
    from kinstream_devkit.embedded.datadir import DataDir

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".kinstream"),
    show_default=True,
    envvar="KINSTREAM_DATA_DIR",
    help="Of the running stack.",
)
app_option = click.option("--app", default="demo", show_default=True, help="The app that is meant.")


class RunningStack(NamedTuple):
    """A stack that runs, and how to reach it."""

    data: "DataDir"
    settings: Any
    url: str

    @property
    def names(self) -> "Names":
        """Names of everything that it uses."""
        names: Names = self.settings.names
        return names

    def client(self, service: str) -> Any:
        """A client of its emulator."""
        from kinstream.aws import blocking_client

        return blocking_client(service, self.settings)

    def require_app(self, app: str) -> None:
        """PermanentError where it has no such app."""
        from kinstream_devkit.apps import Apps

        known = Apps(self.client("dynamodb"), self.names).app_names()
        if app not in known:
            raise PermanentError(f"there is no app {app}; there are {', '.join(known) or 'none'}")


def running_stack(data_dir: Path, url: str | None = None) -> RunningStack:
    """The stack on a folder; PermanentError where none runs.

    With the `url` of an API, or KINSTREAM_API_URL, it is the deployment that the environment describes as it
    does for services; the folder then only holds what a command keeps for itself.
    """
    from kinstream.settings import CoreSettings, read_settings
    from kinstream_devkit.embedded.datadir import DataDir

    data = DataDir(data_dir)
    if url := url or os.environ.get("KINSTREAM_API_URL"):
        return RunningStack(data, read_settings(CoreSettings, "kinstream"), url)
    state = data.read_state()
    settings = CoreSettings(
        name_prefix=state.name_prefix,
        aws_endpoint_url=state.endpoint_url,
        ledger_retention_seconds=state.ledger_retention_seconds,
    )
    return RunningStack(data, settings, state.url)


def rule_book(data_dir: Path, app: str) -> "RuleBook":
    """The rules of the stack's apps; PermanentError where it has no such app."""
    from kinstream_devkit.app_rules import RuleBook

    stack = running_stack(data_dir)
    stack.require_app(app)
    return RuleBook(stack.client("dynamodb"), stack.names)


@contextmanager
def passing_key(
    stack: RunningStack, app: str, kind: "KeyKind", given: str | None = None
) -> Iterator[Callable[[], str]]:
    """The given key, or one that is made when it is asked for and ends here."""
    # The registry has no key's text.
    from kinstream.registry import parse_key
    from kinstream_devkit.apps import Apps

    made: list[str] = []

    def key() -> str:
        if given:
            return given
        if not made:
            made.append(Apps(stack.client("dynamodb"), stack.names).create(app, kind))
        return made[0]

    try:
        yield key
    finally:
        for text in made:
            Apps(stack.client("dynamodb"), stack.names).revoke(app, parse_key(text).hash)
