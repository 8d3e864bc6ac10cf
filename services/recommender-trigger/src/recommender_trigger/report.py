"""A run's report: one page of HTML that needs nothing else, for whoever decides about a model."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from recommender_trigger import plots
from recommender_trigger.cost import PRICES_AS_OF, Charge
from recommender_trigger.domain.runs import Run

_DAY_SECONDS = 86_400
_RANKINGS = {
    "ndcg": "as served",
    "ndcg_blend": "without the rules for lists",
    "ndcg_als_alone": "ALS alone",
    "ndcg_incumbent": "recipe served before",
    "ndcg_trending": "trending",
    "ndcg_popularity": "popularity",
}
_COUNTS = {
    "rows": "rows read",
    "used": "events used",
    "duplicates": "repetitions dropped",
    "capped": "beyond the caps of a customer and day",
    "other": "about no content",
    "not_counted": "too early or too late to be counted",
    "later": "after the run began: for the next one",
    "future": "refused: more than a day in the future",
    "before_1970": "refused: before 1970",
    "unnamed": "refused: without id, type, customer or time",
    "no_content": "refused: name no content",
    "rows_lost": "rows lost in broken files",
    "files": "files",
    "files_refused": "files refused",
    "customers": "customers",
    "contents": "contents",
}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
table{border-collapse:collapse}td,th{padding:.15rem 1rem .15rem 0;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}.no{color:#b3261e}.yes{color:#1b6e3c}
svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#445}footer,.dim{color:#667}
"""


def page(run: Run, manifest: Mapping[str, Any], charges: Sequence[Charge]) -> str:
    """The page. Nothing of any customer is in it, but names of contents' files and figures of all."""
    metrics, gate = manifest.get("metrics") or {}, manifest["gate"]
    verdict = "published" if gate["publish"] else "not published"
    parts = [
        f"<h1>Training run {escape(run.run_id)}</h1>",
        f'<p class="dim">app {escape(run.app)}, launched {_time(run.launched_at_ms)} with '
        f"{escape(run.launcher or '?')}, {run.customers_due:,} customers due</p>",
        f'<p><b class="{"yes" if gate["publish"] else "no"}">{verdict}</b>: {escape(gate["reason"])}</p>',
        *_judgement(metrics),
        *_section("What it learnt from", _days(manifest), _table(_counts(manifest.get("counts", {})))),
        *_refused(manifest.get("refused_files", [])),
        *_section("What it wrote", _table(_flat(manifest.get("recommendations", {})))),
        *_section(
            f"What it cost, about ({PRICES_AS_OF})",
            _table((one.what, "not estimated" if one.usd is None else f"${one.usd:.4f}") for one in charges),
        ),
        *_section("Arguments", _table(_flat(manifest.get("config", {})))),
        f"<footer>config {escape(str(manifest.get('config_hash', '')))}, "
        f"{manifest.get('seconds', 0)} s in Spark</footer>",
    ]
    head = f'<meta charset="utf-8"><title>{escape(run.run_id)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _judgement(metrics: Mapping[str, Any]) -> Iterable[str]:
    if not metrics:
        return
    bars = [(label, float(metrics[name])) for name, label in _RANKINGS.items() if name in metrics]
    inner_ms, outer_ms, end_ms = metrics["windows_ms"]
    yield from _section(
        "How good it is: NDCG@10 on the newest events",
        plots.bars(bars),
        f"<p>Learnt from what came before {_time(outer_ms)}, judged on what came until {_time(end_ms)}, by "
        f"{metrics['warm_users']:,} customers who were known before and turned to something new. Lists show "
        f"{metrics['coverage']:.1%} of the contents that they could "
        f"({metrics['coverage_blend']:.1%} without the rules).</p>",
    )
    if not metrics["sweep"]:
        return
    yield from _section(
        "The weight of the trend, chosen on the window before",
        plots.line([(float(beta), float(figure)) for beta, figure in metrics["sweep"]], metrics["beta"]),
        f"<p>beta {metrics['beta']:g}, by {metrics['sweep_users']:,} customers between {_time(inner_ms)} and "
        f"{_time(outer_ms)}; another than the usual one is taken only where it is clearly better.</p>",
    )


def _days(manifest: Mapping[str, Any]) -> str:
    days = manifest.get("events_by_day", [])
    return plots.columns([(_date(day), count) for day, count in days]) if days else ""


def _counts(counts: Mapping[str, int]) -> Iterable[tuple[str, str]]:
    for name, label in _COUNTS.items():
        if counts.get(name):
            yield label, f"{counts[name]:,}"


def _refused(files: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if files:
        rows = (
            (
                file["file"],
                "no Parquet file"
                if file["rows"] is None
                else f"{file['rows_lost']:,} of {file['rows']:,} rows",
            )
            for file in files
        )
        yield from _section("Files that could not be read", _table(rows))


def _flat(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    return ((name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in values.items())


def _section(title: str, *parts: str) -> Iterable[str]:
    return (f"<h2>{escape(title)}</h2>", *parts)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f'<tr><td>{escape(label)}</td><td class="n">{escape(value)}</td></tr>' for label, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _time(time_ms: float) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _date(day: int) -> str:
    return f"{datetime.fromtimestamp(day * _DAY_SECONDS, UTC):%Y-%m-%d}"
