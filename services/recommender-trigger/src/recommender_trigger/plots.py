"""Three plots as inline SVG. Pure: texts are escaped, the same figures give the same bytes."""

from collections.abc import Sequence
from html import escape

_WIDTH = 640
_LABELS = 190
_ROW = 24
_HEIGHT = 160
_BLUE, _GREY, _RED = "#3466a5", "#9fb0c3", "#b3261e"


def bars(figures: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars with their values; the first one stands out."""
    most = max((value for _, value in figures), default=0) or 1
    parts = []
    for number, (label, value) in enumerate(figures):
        y, width = number * _ROW, (_WIDTH - _LABELS - 70) * value / most
        colour = _GREY if number else _BLUE
        parts.append(
            f'<text x="0" y="{y + 16}">{escape(label)}</text>'
            f'<rect x="{_LABELS}" y="{y + 4}" width="{width:.1f}" height="{_ROW - 8}" fill="{colour}"/>'
            f'<text x="{_LABELS + width + 6:.1f}" y="{y + 16}">{value:.4f}</text>'
        )
    return _svg(len(figures) * _ROW, parts)


def columns(counts: Sequence[tuple[str, int]]) -> str:
    """One column a label, in order; the first and the last label are written, all are shown on hovering."""
    most = max((count for _, count in counts), default=0) or 1
    step = _WIDTH / max(1, len(counts))
    parts = []
    for number, (label, count) in enumerate(counts):
        height, width = (_HEIGHT - 30) * count / most, max(0.5, step * 0.85)
        parts.append(
            f'<rect x="{number * step:.2f}" y="{_HEIGHT - 20 - height:.1f}" width="{width:.2f}" '
            f'height="{height:.1f}" fill="{_BLUE}"><title>{escape(label)}: {count:,}</title></rect>'
        )
    if counts:
        parts.append(f'<text x="0" y="{_HEIGHT - 4}">{escape(counts[0][0])}</text>')
        parts.append(f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" text-anchor="end">{escape(counts[-1][0])}</text>')
    return _svg(_HEIGHT, parts)


def line(points: Sequence[tuple[float, float]], chosen: float) -> str:
    """Figures over a parameter, the chosen value marked."""
    if not points:
        return ""
    low, high = min(y for _, y in points), max(y for _, y in points)
    left, right = points[0][0], points[-1][0]

    def place(x: float, y: float) -> tuple[float, float]:
        across = 30 + (_WIDTH - 60) * (x - left) / ((right - left) or 1)
        return across, 20 + (_HEIGHT - 60) * (high - y) / ((high - low) or 1)

    spots = [(x, y, *place(x, y)) for x, y in points]
    path = " ".join(f"{across:.1f},{down:.1f}" for *_, across, down in spots)
    parts = [f'<polyline fill="none" stroke="{_BLUE}" points="{path}"/>']
    for x, y, across, down in spots:
        colour = _RED if x == chosen else _BLUE
        parts.append(
            f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="{colour}"/>'
            f'<text x="{across:.1f}" y="{down - 8:.1f}" text-anchor="middle">{y:.4f}</text>'
            f'<text x="{across:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{x:g}</text>'
        )
    return _svg(_HEIGHT, parts)


def _svg(height: float, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(parts)}</svg>'
