"""The plots of the page, as figures of Plotly; text of strangers is escaped."""

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from ltmm.evaluation.functional import CalibrationBins
from ltmm.evaluation.reports.class_report import ClassReport
from ltmm.evaluation.reports.per_class_report import PerClassReport
from ltmm.visualization.frequency_plot import MIN_SMOOTH_CLASSES, ZERO_AT, smooth_over_images
from ltmm.visualization.style import RUN_COLORS, SHOT_COLORS

from .bootstrap import group_interval
from .run_files import Method

__all__ = [
    'boxes_plot',
    'confusion_plot',
    'curve_plot',
    'distribution_plot',
    'group_plot',
    'per_class_plot',
    'reliability_plot',
]

PALE = '#eef1f5'
GROUP_COLORS = tuple(SHOT_COLORS.values())
CORRECT, DARK = '#2e9e6b', '#4a5361'
OTHER_COLORS = (DARK, '#d9c9a3')


def color_of(index: int) -> str:
    """Return the color of a method."""
    return RUN_COLORS[index % len(RUN_COLORS)]


def text(value: object) -> str:
    """Escape text for Plotly, which reads some HTML."""
    return escape(str(value), quote=False)


def shorten(value: str, length: int = 40) -> str:
    """Shorten and escape a name."""
    return text(value if len(value) <= length else value[: length - 1] + '…')


def _figure(x: str, y: str, height: int = 380, **layout) -> go.Figure:
    axis = dict(gridcolor=PALE, zeroline=False, linecolor='#c5ccd6', ticks='outside', tickcolor='#c5ccd6')
    return go.Figure(
        layout=dict(
            template='none',
            height=height,
            margin=dict(l=58, r=14, t=34, b=52),
            font=dict(family='system-ui, sans-serif', size=13, color='#27313f'),
            xaxis=dict(axis, title=dict(text=x), showgrid=False),
            yaxis=dict(axis, title=dict(text=y)),
            legend=dict(orientation='h', yanchor='bottom', y=1.0, x=0, xanchor='left'),
            hoverlabel=dict(bgcolor='white', bordercolor='#c5ccd6', font=dict(size=13)),
            hovermode='closest',
            **layout,
        )
    )


def distribution_plot(report: ClassReport) -> go.Figure:
    """Training images per class, most frequent first."""
    figure = _figure('class, by training images', 'training images', bargap=0.15 if len(report.names) <= 60 else 0)
    order = np.argsort(-report.train_images, kind='stable')
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(1, len(order) + 1)
    for (name, mask), color in zip(report.groups(), GROUP_COLORS):
        classes = order[mask[order]]
        if not len(classes):
            continue
        figure.add_bar(
            x=rank[classes].tolist(),
            y=report.train_images[classes].tolist(),
            name=f'{name} ({len(classes)} classes)',
            marker=dict(color=color, line=dict(width=0)),
            text=[shorten(report.names[c]) for c in classes],
            textposition='none',
            hovertemplate='<b>%{text}</b><br>%{y:,} training images<br>rank %{x}<extra></extra>',
        )
    if report.train_images.max() > 20 * max(report.train_images.min(), 1):
        figure.update_yaxes(type='log', dtick=1)
    return figure


def curve_plot(methods: Sequence[Method], name: str, x: str) -> go.Figure:
    """A figure over the training, a line per run."""
    figure = _figure(x, text(name.split('/')[-1].replace('_', ' ')), height=320)
    for i, method in enumerate(methods):
        for j, run in enumerate(method.runs):
            steps, values = run.curve(name)
            figure.add_scatter(
                x=steps,
                y=values,
                mode='lines+markers' if len(steps) <= 30 else 'lines',
                marker=dict(size=5),
                line=dict(color=color_of(i), width=1.6),
                opacity=0.85 if j == 0 else 0.45,
                name=shorten(method.name),
                legendgroup=str(i),
                showlegend=j == 0,
                text=[f'{shorten(method.name)}, seed {text(run.seed)}'] * len(steps),
                hovertemplate='<b>%{text}</b><br>step %{x}: %{y:.4g}<extra></extra>',
            )
    return figure


def group_plot(methods: Sequence[Method]) -> go.Figure:
    """Mean over the classes of each group: a bar with its interval, and a point per seed."""
    first = methods[0].report
    figure = _figure('', f'mean {text(first.value_name)} (%)', barmode='group', scattermode='group')
    for i, method in enumerate(methods):
        groups, heights, above, below, seeds_x, seeds_y, seeds_text = [], [], [], [], [], [], []
        for name, mask in _all_and_groups(method.report):
            chosen = mask & ~np.isnan(method.values)
            if not chosen.any():
                continue
            mean = float(method.values[chosen].mean())
            images = method.report.test_images[chosen] if isinstance(method.report, PerClassReport) else None
            low, high = group_interval(method.values[chosen], images)
            groups, heights = [*groups, name], [*heights, mean]
            above, below = [*above, max(high - mean, 0)], [*below, max(mean - low, 0)]
            for run in method.runs if len(method.runs) > 1 else ():
                seeds_x, seeds_y = [*seeds_x, name], [*seeds_y, float(np.nanmean(run.report.value[mask]))]
                seeds_text.append(f'{shorten(method.name)}, seed {text(run.seed)}')
        figure.add_bar(
            x=groups,
            y=heights,
            name=shorten(method.name),
            legendgroup=str(i),
            offsetgroup=str(i),
            marker=dict(color=color_of(i), opacity=0.8),
            error_y=dict(type='data', array=above, arrayminus=below, color='#27313f', thickness=1.4, width=9),
            customdata=[[m - b, m + a] for m, a, b in zip(heights, above, below)],
            hovertemplate='%{x}: <b>%{y:.2f}</b><br>95 %: %{customdata[0]:.2f} to %{customdata[1]:.2f}<extra></extra>',
        )
        figure.add_scatter(
            x=seeds_x,
            y=seeds_y,
            mode='markers',
            legendgroup=str(i),
            offsetgroup=str(i),
            showlegend=False,
            marker=dict(color='white', size=5, line=dict(color='#27313f', width=1)),
            text=seeds_text,
            hovertemplate='<b>%{text}</b><br>%{x}: %{y:.2f}<extra></extra>',
        )
    return figure


def per_class_plot(methods: Sequence[Method]) -> go.Figure:
    """Accuracy or AP of each class against its training images."""
    first = methods[0].report
    has_zero = bool((first.train_images == 0).any())
    title = 'training images of the class' + (f' (0 drawn at {ZERO_AT})' if has_zero else '')
    figure = _figure(title, f'{text(first.value_name)} (%)', height=480)
    ticks = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]
    figure.update_xaxes(type='log', showgrid=True, tickvals=ticks, ticktext=[f'{tick:,}' for tick in ticks])
    figure.update_yaxes(range=[-4, 104])
    for i, method in enumerate(methods):
        values, report = method.values, method.report
        tested = np.flatnonzero(~np.isnan(values))
        images = np.maximum(report.train_images, ZERO_AT)[tested]
        group = {int(c): name for name, mask in report.groups() for c in np.flatnonzero(mask)}
        figure.add_scatter(
            x=images.tolist(),
            y=values[tested].tolist(),
            mode='markers',
            name=shorten(method.name),
            legendgroup=str(i),
            marker=dict(color=color_of(i), size=8 if len(tested) <= 300 else 5, opacity=0.7, line=dict(width=0)),
            text=[shorten(report.names[c]) for c in tested],
            customdata=[[int(report.train_images[c]), int(report.test_images[c]), group[c]] for c in tested.tolist()],
            hovertemplate='<b>%{text}</b> (%{customdata[2]})<br>%{y:.1f} %<br>%{customdata[0]:,} training, '
            '%{customdata[1]:,} test images<extra>' + shorten(method.name, 24) + '</extra>',
        )
        if is_smooth(method):
            x, y = smooth_over_images(images, values[tested])
            line = dict(color=color_of(i), width=2.5)
            figure.add_scatter(
                x=x.tolist(), y=y.tolist(), mode='lines', line=line, legendgroup=str(i), showlegend=False,
                hoverinfo='skip',
            )  # fmt: skip
    return figure


def is_smooth(method: Method) -> bool:
    """Whether there are enough tested classes for a curve through their points."""
    return int((~np.isnan(method.values)).sum()) >= MIN_SMOOTH_CLASSES


def confusion_plot(method: Method) -> go.Figure:
    """Where the images, labels or objects of each group go."""
    groups, predictions = _filled_groups(method.report), method.predictions
    shares = predictions.confusion_of_groups([mask for _, mask in groups])
    colors = dict(zip((name for name, _ in method.report.groups()), GROUP_COLORS))
    parts = [('correct', CORRECT), *((predictions.wrong.format(name), colors[name]) for name, _ in groups)]
    parts += zip(predictions.others.values(), OTHER_COLORS)
    return _share_plot(method, [name for name, _ in groups], predictions.cases, parts, shares)


def boxes_plot(method: Method) -> go.Figure | None:
    """Which predicted boxes of each group are true; None without boxes."""
    groups = _filled_groups(method.report)
    shares = method.predictions.boxes_of_groups([mask for _, mask in groups])
    parts = [
        ('true', CORRECT),
        ('on an object of another class', RUN_COLORS[4]),
        ('background, badly placed or second', DARK),
    ]
    rows = [name for name, _ in groups]
    return None if shares is None else _share_plot(method, rows, 'predicted boxes', parts, shares)


def _filled_groups(report: ClassReport) -> list[tuple[str, np.ndarray]]:
    return [(name, mask) for name, mask in report.groups() if mask.any()]


def _share_plot(
    method: Method, rows: Sequence[str], what: str, parts: Sequence[tuple[str, str]], shares: np.ndarray
) -> go.Figure:
    """A bar of 100 % per row, (R, P), of parts with a name and a color."""
    figure = _figure(f'share of the {what} (%)', '', height=130 + 52 * len(rows), barmode='stack')
    figure.update_layout(title=dict(text=shorten(method.name), x=0, xref='paper', font=dict(size=14), y=0.98))
    figure.update_layout(margin=dict(l=74, t=84), legend=dict(traceorder='normal'))
    figure.update_xaxes(range=[0, 100])
    figure.update_yaxes(autorange='reversed', ticks='')
    for column, (title, color) in enumerate(parts):
        if column and not np.nansum(shares[:, column]):
            continue
        figure.add_bar(
            y=list(rows),
            x=[None if np.isnan(share) else float(share) for share in shares[:, column]],
            name=title,
            orientation='h',
            marker=dict(color=color),
            hovertemplate=f'{what} of the group %{{y}}: {title}: <b>%{{x:.1f}} %</b><extra></extra>',
        )
    return figure


def reliability_plot(
    bins: Sequence[tuple[str, CalibrationBins]], axes: tuple[str, str], counted: str, colors: Sequence[str] = RUN_COLORS
) -> go.Figure:
    """Accuracy against confidence.

    Args:
        bins: Names and bins of the lines.
        axes: Names of the axes.
        counted: Word for what the bins hold.
        colors: Colors of the lines.
    """
    figure = _figure(*axes, height=420)
    figure.update_xaxes(range=[0, 1.02])
    figure.update_yaxes(range=[0, 1.02])
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode='lines', line=dict(color='#8a94a3', dash='dot', width=1), showlegend=False,
        hoverinfo='skip',
    )  # fmt: skip
    for i, (name, of_method) in enumerate(bins):
        filled = of_method.count > 0
        share = of_method.count[filled] / of_method.count.sum()
        figure.add_scatter(
            x=of_method.confidence[filled].tolist(),
            y=of_method.accuracy[filled].tolist(),
            mode='lines+markers',
            name=shorten(name),
            line=dict(color=colors[i % len(colors)], width=2),
            marker=dict(
                size=(5 + 18 * np.sqrt(share)).tolist(), color=colors[i % len(colors)], opacity=0.8, line=dict(width=0)
            ),
            customdata=of_method.count[filled].astype(int).tolist(),
            hovertemplate=f'{axes[0]} %{{x:.2f}}, {axes[1]} <b>%{{y:.2f}}</b><br>'
            f'%{{customdata:,}} {counted}<extra></extra>',
        )
    return figure


def _all_and_groups(report: ClassReport) -> list[tuple[str, np.ndarray]]:
    return [('all', np.ones(len(report.names), dtype=bool)), *report.groups()]
