"""Rows of the tables under Home's charts: a quarter has a thousand cells, too many for a template's loops."""

from django import template
from django.utils.safestring import SafeString, mark_safe

from apps.analytics.day_panel import DayPanel
from apps.analytics.home import Home
from apps.core.templatetags.mw import day_label, figure, money

register = template.Library()

_SO_FAR = ' <span class="mw-quiet">so far</span>'


@register.simple_tag
def day_rows(panel: DayPanel) -> SafeString:
    """A row for each day, newest first: each series, all of them, and four weeks earlier where that is known."""
    kind, rows = panel.kind, []
    for row in panel.table:
        cells = "".join(f'<td class="mw-n">{figure(value, kind)}</td>' for value in row["values"])
        before = f'<td class="mw-n mw-quiet">{figure(row["before"], kind)}</td>' if panel.before else ""
        rows.append(
            f'<tr><td class="mw-nowrap">{day_label(row["day"])}{_SO_FAR if row["running"] else ""}</td>{cells}'
            f'<td class="mw-n mw-strong">{figure(row["all"], kind)}</td>{before}</tr>'
        )
    return mark_safe("".join(rows))  # noqa: S308 - figures and days, which are ours


@register.simple_tag
def cumulative_rows(home: Home) -> SafeString:
    """A row for each day, newest first: what was spent until then, and four weeks earlier where that is known."""
    rows = []
    for number, row in enumerate(home.cumulative_table):
        so_far = _SO_FAR if home.period.partial and number == 0 else ""
        before = f'<td class="mw-n mw-quiet">{money(row["before"])}</td>' if home.comparable else ""
        rows.append(
            f'<tr><td class="mw-nowrap">{day_label(row["day"])}{so_far}</td><td class="mw-n">{money(row["now"])}</td>'
            f"{before}</tr>"
        )
    return mark_safe("".join(rows))  # noqa: S308 - figures and days, which are ours
