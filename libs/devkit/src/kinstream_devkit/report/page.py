"""The report as one HTML file that needs nothing else: pictures inside, light and dark."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from kinstream_devkit.demo.findings import Findings
from kinstream_devkit.generate.families import title_of
from kinstream_devkit.media_words import dimensions_text, duration_text, size_text
from kinstream_devkit.report.gallery import clock_text, exhibits_of
from kinstream_devkit.report.timeline import bars_of, colors_of

_MOST_BARS = 40


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
    environment.filters |= {
        "title_of": title_of,
        "size": size_text,
        "clock": clock_text,
    }
    environment.globals |= {"dimensions": dimensions_text, "duration": duration_text}
    bars = bars_of(findings.sessions)[:_MOST_BARS]
    return environment.get_template("report.html.j2").render(
        findings=findings,
        bars=bars,
        longest_minutes=max((bar.minutes for bar in bars), default=0) or 1,
        colors=colors_of(sorted(findings.sessions, key=lambda session: session.started_at)),
        exhibits=exhibits_of(findings.media),
        compared=sum(comparison.expected for comparison in findings.comparisons),
    )
