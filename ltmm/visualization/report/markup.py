"""Pieces of HTML that the sections are made of."""

from collections.abc import Sequence

import plotly.graph_objects as go

__all__ = ['grid', 'plot', 'table']


def plot(figure: go.Figure) -> str:
    """Return the HTML of a figure, without plotly.js."""
    config = dict(displaylogo=False, displayModeBar=False, responsive=True)
    return f'<div class="plot">{figure.to_html(full_html=False, include_plotlyjs=False, config=config)}</div>'


def grid(parts: Sequence[str]) -> str:
    """Return parts side by side, as many as the screen has room for."""
    return f'<div class="pair">{"".join(parts)}</div>'


def table(header: str, rows: Sequence[str]) -> str:
    """Return a table, which scrolls where it is too wide.

    Args:
        header: Cells, ``<th>``.
        rows: Rows, ``<tr>``.
    """
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
