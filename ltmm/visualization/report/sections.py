"""The sections of the page. All text that comes from a run is escaped here or in ``figures``."""

from collections.abc import Sequence
from html import escape

import numpy as np

from ltmm.evaluation.reports.per_class_report import PerClassReport
from ltmm.visualization.frequency_plot import MIN_SMOOTH_CLASSES

from . import figures
from .markup import grid, plot, table
from .prediction_sections import Pictures, calibration, confusion, worst_classes
from .run_files import Method
from .settings import differences

__all__ = ['SECTIONS']

NUM_OPEN = 12  # differences that are shown at once
NO_COUNTS = '<p class="note">Not shown: the per-class CSV has no training images.</p>'


def results(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """Figures of each method, mean and standard deviation over the seeds."""
    names = list(methods[0].report.figures())
    means = np.array([[method.figures(name).mean() for name in names] for method in methods])
    known = np.nan_to_num(means, nan=-np.inf)
    best = np.where(np.ptp(means.round(2), axis=0) == 0, np.inf, known.max(0))  # nothing is best among equals
    rows = []
    for i, (method, row) in enumerate(zip(methods, means)):
        cells = []
        for name, mean, top in zip(names, row, best):
            spread = method.figures(name).std(ddof=1) if len(method.runs) > 1 else None
            value = '-' if np.isnan(mean) else f'{mean:.2f}'
            value += '' if spread is None or np.isnan(mean) else f' <small>± {spread:.2f}</small>'
            cells.append(f'<td class="n{" best" if len(methods) > 1 and mean == top else ""}">{value}</td>')
        dot = f'<i class="dot" style="background:{figures.color_of(i)}"></i>'
        rows.append(
            f'<tr><th>{dot}{escape(method.name)}</th><td class="n">{len(method.runs)}</td>{"".join(cells)}</tr>'
        )
    header = ''.join(f'<th class="n">{escape(name.replace("_", " "))}</th>' for name in names)
    note = 'Percent; mean ± standard deviation over the seeds. Groups by the images of a class in the training set.'
    validated = [method.name for method in methods if any(run.is_validated_only for run in method.runs)]
    if validated:
        note += f' <b>Not tested: {escape(", ".join(validated))}. Their figures are of the last validation.</b>'
    seeds = min(len(method.runs) for method in methods)
    if seeds == 1:
        note += ' One seed does not tell how much a figure changes from run to run.'
    elif seeds < 5:
        note += f' With {seeds} seeds the deviation rests on {seeds - 1} degree{"s" * (seeds > 2)} of freedom: '
        note += 'small differences say little.'
    return 'Results', f'{table(f"<th>method</th><th class=n>seeds</th>{header}", rows)}<p class="note">{note}</p>'


def settings(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """Settings that differ between the methods, then all settings."""
    of_runs = [method.runs[0].settings for method in methods]
    if not any(of_runs):
        return 'Settings', '<p class="note">Not shown: no run has a dumped config.</p>'
    html = ''
    if len(methods) > 1:
        header = '<th>setting</th>' + ''.join(f'<th>{escape(method.name)}</th>' for method in methods)
        rows = [
            f'<tr><th><code>{escape(key)}</code></th>{"".join(f"<td><code>{_cut(v)}</code></td>" for v in values)}</tr>'
            for key, values in differences(of_runs).items()
        ]
        is_open = ' open' * (len(rows) <= NUM_OPEN)
        html += f'<details{is_open}><summary>What differs ({len(rows)})</summary>{table(header, rows)}</details>'
    for method, of_run in zip(methods, of_runs):
        rows = [f'<tr><th><code>{escape(k)}</code></th><td><code>{_cut(v)}</code></td></tr>' for k, v in of_run.items()]
        seeds = ', '.join(escape(run.seed) for run in method.runs)
        html += (
            f'<details><summary>All settings of {escape(method.name)} <small>seeds {seeds}</small></summary>'
            f'{table("<th>setting</th><th>value</th>", rows)}</details>'
        )
    return 'Settings', html


def distribution(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """Training images per class."""
    by_counts: dict[tuple, list[Method]] = {}
    for method in methods:
        images = method.report.train_images
        by_counts.setdefault(() if images is None else tuple(images.tolist()), []).append(method)
    html = ''
    for counts, of_counts in by_counts.items():
        if len(by_counts) > 1:
            html += f'<h3>{escape(", ".join(method.name for method in of_counts))}</h3>'
        html += _distribution(np.array(counts), of_counts[0]) if counts else NO_COUNTS
    return 'Class distribution', html


def _distribution(images: np.ndarray, method: Method) -> str:
    present = images[images > 0]
    facts = [f'{len(images):,} classes', f'{images.max():,} to {images.min():,} training images per class']
    facts += [f'imbalance factor {present.max() / present.min():,.0f}'] if len(present) else []
    empty = int((images == 0).sum())
    facts += [f'{empty} class{"es" * (empty > 1)} without images'] if empty else []
    return f'<p>{", ".join(facts)}.</p>{plot(figures.distribution_plot(method.report))}'


def curves(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """Loss over the iterations, and figures over the epochs."""
    runs = [run for method in methods for run in method.runs]
    names = dict.fromkeys(name for run in runs for line in run.scalars for name in line)
    chosen = [name for name in ('loss',) if name in names]
    wanted = ('balanced_accuracy', 'few', 'mAP', 'tail', 'bbox_AP', 'bbox_APr')
    chosen += [name for name in names if '/' in name and name.split('/')[-1] in wanted]
    plots = []
    for name in chosen:
        is_drawn = any(len(run.curve(name)[0]) > 1 for run in runs)
        axis = 'iteration' if name == 'loss' else 'epoch or iteration'
        plots += [plot(figures.curve_plot(methods, name, axis))] if is_drawn else []
    if not plots:
        return 'Training', '<p class="note">Not shown: no run has a scalars.json with more than one value.</p>'
    note = 'A line per run. Values of different losses cannot be compared; their course can.'
    return 'Training', f'{grid(plots)}<p class="note">{note}</p>'


def groups(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """Frequent to rare classes."""
    what = 'test images of each class' if isinstance(methods[0].report, PerClassReport) else 'classes of each group'
    note = (
        f'Bars: mean over the classes of the group and the seeds. Lines: 95 % bootstrap intervals over the {what}. '
        'Points: single seeds. A group at 0 % or 100 % has no interval.'
    )
    return 'Frequent and rare classes', plot(figures.group_plot(methods)) + f'<p class="note">{note}</p>'


def per_class(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """A point per class."""
    if any(method.report.train_images is None for method in methods):
        return 'Each class', NO_COUNTS
    is_smooth = any(figures.is_smooth(method) for method in methods)
    note = 'A point per class, mean over the seeds; hover for its name and counts. '
    note += 'The curve averages over classes with about as many images.' if is_smooth else (
        f'No curve is drawn through fewer than {MIN_SMOOTH_CLASSES} classes: it would mislead.'
    )  # fmt: skip
    return 'Each class', plot(figures.per_class_plot(methods)) + f'<p class="note">{note}</p>'


def cost(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """Time, memory and weights."""
    rows = []
    for method in methods:
        bound = '≥ ' * any(run.seconds_is_lower_bound for run in method.runs)
        num_weights = next((run.num_weights for run in method.runs if run.num_weights is not None), None)
        values = [
            (_median(run.middle('time') for run in method.runs), '{:.3f} s'),
            (_median(run.middle('data_time') for run in method.runs), '{:.3f} s'),
            (_median(run.middle('memory') for run in method.runs), '{:,.0f} MB'),
            (_median(run.seconds for run in method.runs), f'{bound}{{:,.0f}} s'),
            (None if num_weights is None else num_weights / 1e6, '{:,.2f} M'),
        ]
        cells = ''.join(f'<td class="n">{"-" if v is None else form.format(v)}</td>' for v, form in values)
        rows.append(f'<tr><th>{escape(method.name)}</th>{cells}</tr>')
    columns = ('iteration', 'of it, waiting for data', 'GPU memory', 'whole run', 'weights')
    header = ''.join(f'<th class="n">{name}</th>' for name in columns)
    note = (
        'Medians over training and seeds. GPU memory needs a GPU; the time of the whole run is from run_table.py, '
        'without a first stage of another run. Weights: in the latest checkpoint, with those that only the training '
        'needs, such as of teachers.'
    )
    return 'Cost', f'{table(f"<th>method</th>{header}", rows)}<p class="note">{note}</p>'


SECTIONS = (
    results, settings, distribution, curves, groups, per_class, confusion, calibration, worst_classes, cost,
)  # fmt: skip


def _cut(value: str, length: int = 160) -> str:
    return escape(value if len(value) <= length else value[: length - 1] + '…') or '<span class="none">not set</span>'


def _median(values) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
