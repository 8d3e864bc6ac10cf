"""kinstream setup"""

import json
import os
from pathlib import Path

import click

from kinstream_devkit.cli._stack import data_dir_option


@click.command(short_help="Create what services in containers need before they start.")
@data_dir_option
@click.option(
    "--wait",
    envvar="KINSTREAM_STARTUP_WAIT_SECONDS",
    default=60.0,
    show_default=True,
    help="Seconds to wait for what is still starting.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON, and nothing else.")
def setup(*, data_dir: Path, wait: float, as_json: bool) -> None:
    """Create what services in containers need before they start, as the environment describes it.

    Brings the catalog's tables to the newest version. With an emulator, at KINSTREAM_AWS_ENDPOINT_URL, also
    creates queues, topics, tables and buckets, and an app "demo" whose keys are printed and kept in the
    folder; on AWS those are Terraform's, and `kinstream keys create` makes keys. May be repeated: nothing
    that exists is emptied or replaced.

    \b
    Examples:
      docker compose run --rm setup                  the address and the keys of the stack in containers
      docker compose run --rm -T setup setup --json
    """
    import asyncio

    from kinstream.settings import CoreSettings, read_settings
    from kinstream.startup import wait_for
    from kinstream_devkit.embedded.datadir import DataDir
    from kinstream_devkit.processors import processor_queues
    from kinstream_devkit.setting_up import set_up_catalog, set_up_emulator

    settings = read_settings(CoreSettings, "kinstream setup", "catalog_url")
    catalog = {"the catalog": lambda: set_up_catalog(settings)}
    asyncio.run(wait_for(catalog, wait, say=_say, advice="see KINSTREAM_CATALOG_URL"))
    if settings.aws_endpoint_url is None:
        _say("the catalog's tables are there; on AWS the rest is Terraform's")
        return
    data = DataDir(data_dir)
    data.create()
    processors = processor_queues()
    emulator = {"the emulator": lambda: set_up_emulator(settings, processors, data)}
    done = asyncio.run(wait_for(emulator, wait, say=_say, advice="see KINSTREAM_AWS_ENDPOINT_URL"))
    address = {"url": os.environ.get("KINSTREAM_PUBLIC_URL", "http://127.0.0.1:8080")} | done["the emulator"]
    click.echo(json.dumps(address) if as_json else _told(address))


def _say(line: str) -> None:
    click.echo(line, err=True)


def _told(address: dict[str, str]) -> str:
    return f"""
Everything that the services need is there.

  API           {address["url"]}   (its reference: {address["url"]}/docs)
  write key     {address["write_key"]}
  secret key    {address["secret_key"]}
"""
