"""kinstream logs"""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kinstream_devkit.log_store import LogStore

_url = click.option(
    "--url",
    envvar="KINSTREAM_OPENSEARCH_URL",
    default="http://127.0.0.1:9200",
    show_default=True,
    help="Of OpenSearch. An https URL of AWS is called with the credentials found as usual.",
)


@click.group(short_help="Keep the services' log lines in OpenSearch, and find them again.")
def logs() -> None:
    """Keep the services' log lines in OpenSearch, and find them again.

    \b
    Examples:
      docker compose --profile logs up -d            OpenSearch, its Dashboards, and Fluent Bit that fills it
      kinstream logs find --level ERROR --since now-1d
      kinstream logs find published --service ingest-api
    """


@logs.command("setup", short_help="Tell OpenSearch how lines are kept.")
@_url
@click.option("--days", default=14, show_default=True, type=click.IntRange(1, 3_650), help="Lines are kept.")
@click.option("--dashboards", metavar="URL", help="Of Dashboards, which is then told where the lines are.")
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait for what is still starting.")
def set_up(*, url: str, days: int, dashboards: str | None, wait: float) -> None:
    """Tell OpenSearch what a line is made of and for how long to keep it. May be repeated.

    \b
    Examples:
      kinstream logs setup --days 30
      kinstream logs setup --url http://opensearch:9200 --dashboards http://dashboards:5601
    """
    import asyncio
    from functools import partial

    from kinstream.startup import wait_for
    from kinstream_devkit.log_store import tell_dashboards

    store = _store(url)
    asyncio.run(wait_for({"OpenSearch": partial(store.set_up, days)}, wait, say=_say, advice="see --url"))
    if dashboards:
        shown = {"Dashboards": partial(tell_dashboards, dashboards)}
        asyncio.run(wait_for(shown, wait, say=_say, advice="see --dashboards"))
    _say(f"lines are kept for {days} days")


@logs.command(short_help="Show lines.")
@click.argument("words", nargs=-1)
@_url
@click.option("--since", default="now-1h", show_default=True, help="now-15m, now-2d, or a time: RFC 3339.")
@click.option("--service", help="Of this service.")
@click.option("--level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), help="Of this level.")
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 1_000), help="At most, the newest."
)
def find(
    *, words: tuple[str, ...], url: str, since: str, service: str | None, level: str | None, limit: int
) -> None:
    """Show lines whose message has all of WORDS, the newest last.

    \b
    Examples:
      kinstream logs find --level WARNING
      kinstream logs find not published --service ingest-api --since now-1d
    """
    from kinstream_devkit.log_store import Wanted, told

    lines = _store(url).find(Wanted(since, " ".join(words) or None, service, level, limit))
    for line in lines:
        click.echo(told(line))
    _say(f"{len(lines)} lines" + (", and perhaps more before them" if len(lines) == limit else ""))


def _store(url: str) -> "LogStore":
    from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth, Urllib3HttpConnection

    from kinstream_devkit.log_store import LogStore

    signer = None
    if url.startswith("https:") and "amazonaws.com" in url:
        import boto3

        session = boto3.session.Session()
        signer = Urllib3AWSV4SignerAuth(session.get_credentials(), session.region_name)
    return LogStore(OpenSearch(url, http_auth=signer, connection_class=Urllib3HttpConnection, timeout=30))


def _say(line: str) -> None:
    click.echo(line, err=True)
