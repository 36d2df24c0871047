"""The vocabulary of the templates: figures, times, icons, small graphics, data for charts."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django import template
from django.template.context import Context
from django.templatetags.static import static
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from apps.core.clock import now
from apps.core.web import diff, figures, graphics

register = template.Library()

_KINDS = {"money": figures.money, "short": figures.short, "count": figures.count}


# ---------------------------------------------------------------- figures
@lru_cache(maxsize=16_384, typed=True)
def _data(value: Any, kind: str) -> SafeString:
    """A number as it is written, its exact value on hover; most of the hundreds in a table are as they were before."""
    plain = f"{figures.number(value):f}"
    exact = figures.exact_money(value) if kind == "money" else figures.count(value)
    return format_html('<data class="mw-num" value="{}" title="{}">{}</data>', plain, exact, _KINDS[kind](value))


@register.filter
def money(value: Any) -> SafeString:
    """US dollars, short, with every digit on hover."""
    return _data(value, "money")


@register.filter
def short(value: Any) -> SafeString:
    """A count in three digits, exact on hover."""
    return _data(value, "short")


@register.filter
def count(value: Any) -> SafeString:
    """A whole number with thousands marked."""
    return _data(value, "count")


@register.filter
def figure(value: Any, kind: str) -> SafeString:
    """A figure of the kind that a metric names: ``money``, ``short`` or ``count``."""
    return _data(value, kind)


@register.filter
def percent(value: Any) -> str:
    """A share as per cent; nothing known is –."""
    return "–" if value is None else figures.percent(value)


@register.filter
def duration(milliseconds: Any) -> str:
    """A time taken; nothing known is –."""
    return "–" if milliseconds is None else figures.duration(milliseconds)


@register.simple_tag
def delta(value: Any) -> SafeString:
    """A relative change with its arrow, in neutral ink: a change is no verdict."""
    if value is None:
        return mark_safe('<span class="mw-delta mw-quiet">new</span>')
    amount = figures.number(value)
    name = "arrow-up-right" if amount > figures.number("0.005") else "minus"
    name = "arrow-down-right" if amount < figures.number("-0.005") else name
    return format_html('<span class="mw-delta">{}{}</span>', icon(name), figures.percent(amount, signed=True))


# ---------------------------------------------------------------- time
def _zone(context: Context) -> ZoneInfo:
    return ZoneInfo(context.get("tz") or "UTC")


@register.simple_tag(takes_context=True)
def when(context: Context, moment: datetime | None, style: str = "minute") -> SafeString:
    """A moment in the reader's zone: ``minute`` (23 Nov, 10:42), ``day`` (23 Nov 2026), ``time`` (10:42:07)."""
    if moment is None:
        return mark_safe('<span class="mw-quiet">–</span>')
    local = moment.astimezone(_zone(context))
    text = {
        "minute": f"{figures.day_label(local, year=local.year != now().year)}, {local:%H:%M}",
        "day": figures.day_label(local, year=True),
        "time": f"{local:%H:%M:%S}",
    }[style]
    exact = f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"
    return format_html('<time class="mw-num" datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, text)


@register.simple_tag(takes_context=True)
def ago(context: Context, moment: datetime | None, never: str = "never") -> SafeString:
    """How long ago, in one word or two; the moment itself on hover."""
    if moment is None:
        return format_html('<span class="mw-quiet">{}</span>', never)
    local = moment.astimezone(_zone(context))
    exact = f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"
    return format_html(
        '<time class="mw-num" datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, _ago(moment)
    )


def _ago(moment: datetime) -> str:
    seconds = int((now() - moment).total_seconds())
    if seconds < 0:
        return figures.day_label(moment, year=True)
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {word} ago"
    return "just now" if seconds < 5 else f"{seconds} s ago"


@register.filter
def day_label(day: date) -> str:
    """``9 Nov``."""
    return figures.day_label(day)


# ---------------------------------------------------------------- graphics
@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """An icon of the sprite, hidden from readers: the words beside it speak."""
    return format_html(
        '<svg class="mw-i{}" aria-hidden="true"><use href="{}#{}"/></svg>',
        f" {extra}" if extra else "",
        static("vendor/tabler-icons.svg"),
        name,
    )


@register.simple_tag
def spark(
    values: Sequence[Any], label: str, rate: bool = False, partial: bool = False, peak: int | None = None
) -> SafeString:
    """A sparkline; see :func:`apps.core.web.graphics.spark`."""
    numbers = [None if value is None else float(value) for value in values]
    return graphics.spark(numbers, label=label, rate=rate, partial=partial, peak=peak)


@register.simple_tag
def strip(parts: Sequence[tuple[int, Any]], label: str) -> SafeString:
    """The selvedge; see :func:`apps.core.web.graphics.strip`."""
    return graphics.strip([(colour, float(amount)) for colour, amount in parts], label=label)


@register.filter
def meter(share: Any) -> SafeString:
    """A bar for a share between 0 and 1."""
    return graphics.meter(float(share or 0))


@register.filter
def ticks(values: Sequence[int]) -> SafeString:
    """Bars of the last hours."""
    return graphics.ticks(values)


@register.filter
def initials(name: str) -> str:
    """Up to two letters that stand for a name or an address."""
    words = [word for word in name.split("@")[0].replace(".", " ").replace("-", " ").split() if word]
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper() or "?"


# ---------------------------------------------------------------- pages
@register.filter
def chart_json(value: Any) -> str:
    """The data of a chart for a ``data-values`` attribute; autoescaping makes it safe whatever names it holds."""
    return json.dumps(value, separators=(",", ":"), default=str)


@register.simple_tag(takes_context=True)
def here(context: Context, **changes: Any) -> str:
    """This page's address with some parameters changed (None takes one away)."""
    request = context["request"]
    query = {key: values[-1] for key, values in request.GET.lists()}
    query |= {key: str(value) for key, value in changes.items() if value is not None}
    for key in [key for key, value in changes.items() if value is None]:
        query.pop(key, None)
    return f"{request.path}?{urlencode(sorted(query.items()))}" if query else str(request.path)


@register.simple_tag
def url_query(**values: Any) -> str:
    """``name=value`` for an address, whatever the value holds."""
    return urlencode(values)


@register.filter
def exact_money(value: Any) -> str:
    """US dollars with every digit: for a bill explained."""
    return figures.exact_money(value)


@register.filter
def code_words(text: str) -> SafeString:
    """Plain text in which words between backticks are code; everything else is escaped."""
    parts = [conditional_escape(part) for part in str(text).split("`")]
    # An odd number of parts is pairs of backticks around every second one.
    if len(parts) % 2 == 0:
        return format_html("{}", text)
    return mark_safe("".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)))  # noqa: S308


@register.filter
def mail(text: Any) -> SafeString:
    """An e-mail or web address that a narrow column breaks behind its ``@``, or before a dot, rather than in a word."""
    said = str(conditional_escape(text))
    return mark_safe(said.replace("@", "@<wbr>") if "@" in said else said.replace(".", "<wbr>."))  # noqa: S308


@register.simple_tag
def text_diff(old: str, new: str) -> diff.Diff:
    """What changed between two texts; see :func:`apps.core.web.diff.text_diff`."""
    return diff.text_diff(str(old), str(new))


@register.simple_tag
def moment() -> datetime:
    """This moment, for :func:`when`."""
    return now()
