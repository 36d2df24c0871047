"""Small graphics drawn on the server, as SVG without styles: sparklines, shares, strips, tick bars.

Sums are filled from zero; rates are a bare line over their own range. Lengths are attributes or per cent, so that a
strict Content-Security-Policy holds.
"""

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

__all__ = ["meter", "spark", "strip", "ticks"]

_WIDTH, _HEIGHT = 96, 28


def spark(
    values: Sequence[float | None], *, label: str, rate: bool = False, partial: bool = False, peak: int | None = None
) -> SafeString:
    """A line through ``values``; None leaves a gap, the last one is left out while its day runs (``partial``).

    ``peak`` marks one point. Fewer than two points draw nothing: a number says it.
    """
    shown = list(values[:-1] if partial else values)
    known = [value for value in shown if value is not None]
    if len(known) < 2:
        return mark_safe("")
    low = min(known) if rate else 0.0
    span = (max(known) - low) * 1.08 or 1.0
    points = [
        None
        if value is None
        else (index * _WIDTH / max(len(values) - 1, 1), _HEIGHT - 2 - (value - low) / span * (_HEIGHT - 5))
        for index, value in enumerate(shown)
    ]
    line, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        line.append(f"{pen}{point[0]:.1f} {point[1]:.1f}")
        pen = "L"
    path = "".join(line)
    last = next(point for point in reversed(points) if point is not None)
    first = next(point for point in points if point is not None)
    area: str = SafeString("")
    if not rate and None not in points:
        area = format_html(
            '<path class="mw-area" d="{}L{} {}L{} {}Z"/>', path, f"{last[0]:.1f}", _HEIGHT, f"{first[0]:.1f}", _HEIGHT
        )
    mark: str = SafeString("")
    if peak is not None and peak < len(points) and (at := points[peak]) is not None:
        mark = format_html('<circle class="mw-peak" cx="{}" cy="{}" r="2.5"/>', f"{at[0]:.1f}", f"{at[1]:.1f}")
    return format_html(
        '<svg class="mw-spark" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}'
        '<path d="{}"/><circle cx="{}" cy="{}" r="2"/>{}</svg>',
        _WIDTH, _HEIGHT, _WIDTH, _HEIGHT, label, area, path, f"{last[0]:.1f}", f"{last[1]:.1f}", mark,
    )  # fmt: skip


def strip(parts: Sequence[tuple[int, float]], *, label: str) -> SafeString:
    """The selvedge: ``(colour number, amount)`` one after the other, filling the width."""
    total = sum(amount for _, amount in parts if amount > 0)
    if total <= 0:
        return format_html('<svg class="mw-strip" role="img" aria-label="{}"><rect class="mw-track" width="100%"'
                           ' height="12" rx="2"/></svg>', label)  # fmt: skip
    at = 0.0
    drawn = []
    for colour, amount in parts:
        if amount <= 0:
            continue
        width = amount / total * 100
        drawn.append((colour, f"{at:.3f}%", f"{width:.3f}%"))
        at += width
    bars = format_html_join("", '<rect class="mw-part mw-c{}" x="{}" y="0" width="{}" height="12"/>', drawn)
    seams = format_html_join("", '<line x1="{0}" x2="{0}" y1="0" y2="12"/>', [(x,) for _, x, _ in drawn[1:]])
    return format_html('<svg class="mw-strip" role="img" aria-label="{}">{}{}</svg>', label, bars, seams)


def meter(share: float) -> SafeString:
    """A bar for a share between 0 and 1; the number beside it says the same, so it is hidden from readers."""
    width = max(0.0, min(1.0, share)) * 100
    return format_html(
        '<svg class="mw-meter" aria-hidden="true"><rect class="mw-track" width="100%" height="6" rx="3"/>'
        '<rect width="{}%" height="6" rx="3"/></svg>',
        f"{width:.2f}",
    )


def ticks(values: Sequence[int]) -> SafeString:
    """Bars of the last hours, newest at the right; a picture beside its number. live.js redraws it the same way."""
    top = max(values, default=0) or 1
    step = _WIDTH / max(len(values), 1)
    bars = []
    for index, value in enumerate(values):
        height = max(1.0, value / top * _HEIGHT) if value else 1.0
        faded = 1.0 if index == len(values) - 1 else 0.35 + 0.5 * index / max(len(values), 1)
        bars.append(
            (f"{index * step:.2f}", f"{_HEIGHT - height:.2f}", f"{step - 2:.2f}", f"{height:.2f}", f"{faded:.2f}")
        )
    return format_html(
        '<svg class="mw-ticks" viewBox="0 0 {} {}" aria-hidden="true" data-live-ticks>{}</svg>',
        _WIDTH,
        _HEIGHT,
        format_html_join("", '<rect x="{}" y="{}" width="{}" height="{}" rx="1" opacity="{}"/>', bars),
    )
