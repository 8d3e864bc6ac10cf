"""The `kinstream` command: one file of this package a command, holding a click command of its name."""

import importlib
import pkgutil
from typing import Any

import click

from kinstream.errors import KinstreamError


class _Refusal(click.ClickException):
    """A sentence for the user in place of a traceback."""

    exit_code = 2


class _Commands(click.Group):
    """Commands are imported when they are used or listed. What is slow to import, each of them imports
    when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = [module.name for module in pkgutil.iter_modules(__path__)]
        return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"{__name__}.{name}"), name)
        assert isinstance(command, click.Command), f"cli/{name}.py has no command {name}"
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KinstreamError as error:
            raise _Refusal(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kinstream-devkit", prog_name="kinstream")
def main() -> None:
    """Kinstream on your machine: run it, try it, look after it.

    \b
    Examples:
      kinstream demo                 send real data through all of it and compare every result
      kinstream up                   run it in the foreground
      kinstream keys list            API keys of the stack that runs here
    """
