"""The report as one HTML file that needs nothing else: pictures inside, light and dark."""

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from kinstream_devkit.demo.findings import Findings, RenditionFile
from kinstream_devkit.generate.families import title_of
from kinstream_devkit.report.terminal import size_text
from kinstream_devkit.report.timeline import bars_of, colors_of

_MOST_BARS = 40
_LARGEST_PICTURE_BYTES = 400_000


def write_page(findings: Findings, path: Path) -> None:
    """Write the page; folders on the way are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_page(findings), encoding="utf-8")


def render_page(findings: Findings) -> str:
    """The page's text. Everything that came from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("kinstream_devkit"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"title_of": title_of, "size": size_text, "data_uri": data_uri}
    bars = bars_of(findings.sessions)[:_MOST_BARS]
    return environment.get_template("report.html.j2").render(
        findings=findings,
        bars=bars,
        longest_minutes=max((bar.minutes for bar in bars), default=0) or 1,
        colors=colors_of(sorted(findings.sessions, key=lambda session: session.started_at)),
        pictures=[(result, _pictures_of(result.renditions)) for result in findings.media],
        compared=sum(comparison.expected for comparison in findings.comparisons),
    )


def _pictures_of(renditions: list[RenditionFile]) -> list[RenditionFile]:
    """What the page shows of a file: at most two sizes, the larger first."""
    fitting = [
        rendition
        for rendition in renditions
        if rendition.content_type.startswith("image/") and len(rendition.data) <= _LARGEST_PICTURE_BYTES
    ]
    return sorted(fitting, key=lambda rendition: -(rendition.width or 0))[:2]


def data_uri(rendition: RenditionFile) -> str:
    """The file inside of an address."""
    return f"data:{rendition.content_type};base64,{base64.b64encode(rendition.data).decode()}"
