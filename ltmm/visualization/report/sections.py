"""The sections of the page. All text that comes from a run is escaped here or in ``figures``."""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from ltmm.evaluation.functional import CalibrationBins, expected_calibration_error
from ltmm.evaluation.reports.per_class_report import PerClassReport
from ltmm.visualization.frequency_plot import MIN_SMOOTH_CLASSES

from . import figures
from .predictions import Picture, Predictions
from .run_files import Method
from .settings import differences
from .thumbnails import thumbnail

__all__ = ['SECTIONS', 'Pictures', 'plot']

NUM_WORST, NUM_OPEN, NUM_PAIRS = 8, 12, 5
NO_COUNTS = '<p class="note">Not shown: the per-class CSV has no training images.</p>'
OBJECT_COLOR, BOX_COLOR = '#ffffff', '#ff8c00'
BOX_COLORS = (
    '<p class="note">In the pictures: objects white, predicted boxes orange. Hover for the classes and scores.</p>'
)
NO_PICTURES = (
    '<p class="note">Pictures: not shown: the predictions name no image file that can be read here. Data in memory '
    '(CIFAR) needs <code>--config CONFIG</code>; features have no pictures.</p>'
)
Pictures = Callable[[str, int], np.ndarray | str | None]  # (path, sample_idx) -> pixels or path


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
    seeds = min(len(method.runs) for method in methods)
    if seeds == 1:
        note += ' One seed does not tell how much a figure changes from run to run.'
    elif seeds < 5:
        note += f' With {seeds} seeds the deviation rests on {seeds - 1} degree{"s" * (seeds > 2)} of freedom: '
        note += 'small differences say little.'
    return 'Results', f'{_table(f"<th>method</th><th class=n>seeds</th>{header}", rows)}<p class="note">{note}</p>'


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
        html += f'<details{is_open}><summary>What differs ({len(rows)})</summary>{_table(header, rows)}</details>'
    for method, of_run in zip(methods, of_runs):
        rows = [f'<tr><th><code>{escape(k)}</code></th><td><code>{_cut(v)}</code></td></tr>' for k, v in of_run.items()]
        seeds = ', '.join(escape(run.seed) for run in method.runs)
        html += (
            f'<details><summary>All settings of {escape(method.name)} <small>seeds {seeds}</small></summary>'
            f'{_table("<th>setting</th><th>value</th>", rows)}</details>'
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
    return 'Training', f'<div class="pair">{"".join(plots)}</div><p class="note">{note}</p>'


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


def confusion(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """Where the images, labels or objects of rare classes go."""
    blocks, note = [], ''
    for method in methods:
        if predictions := method.predictions:
            drawn = [plot(figure) for figure in (figures.confusion_plot(method), figures.boxes_plot(method)) if figure]
            blocks.append(f'<div>{_grid(drawn)}{_frequent_mistakes(method)}</div>')
            note = f'<p class="note">{predictions.note} Of one seed, the first with predictions.</p>'
    html = _grid(blocks) if len(blocks) > 1 and len(drawn) == 1 else ''.join(blocks)
    return 'Confusion of rare with frequent classes', html + note + _no_predictions(methods)


def _frequent_mistakes(method: Method) -> str:
    """Name the most frequent mistakes of the rarest group that has cases."""
    predictions = method.predictions
    groups = [(name, mask) for name, mask in method.report.groups() if mask[predictions.label].any()]
    for name, mask in groups[-1:]:
        names = predictions.names
        pairs = predictions.frequent_mistakes(mask, NUM_PAIRS)
        pairs = [f'{escape(names[c])} → {escape(names[other])} <small>{count:,}</small>' for c, other, count in pairs]
        return f'<p class="note">Most frequent mistakes, {name}: {", ".join(pairs)}.</p>' if pairs else ''
    return ''


def calibration(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """Accuracy against confidence."""
    if isinstance(methods[0].report, PerClassReport):
        return 'Calibration', _calibration_of_images(methods)
    blocks, note = [], ''
    for method in methods:
        predictions = method.predictions
        if predictions is None:
            continue
        bins, name = predictions.calibration(method.report.groups()), escape(method.name)
        if not bins:
            blocks.append(f'<p class="note">{name}: not shown: the scores are not in [0, 1], or there are none.</p>')
            continue
        colors = dict(zip(('all', *(name for name, _ in method.report.groups())), ('#27313f', *figures.GROUP_COLORS)))
        colors = [colors[group] for group, _ in bins]
        drawn = plot(figures.reliability_plot(bins, predictions.axes, predictions.counted, colors))
        blocks.append(f'<div><h3>{name}</h3><p>{_errors(bins)}</p>{drawn}</div>')
        note = (
            f'<p class="note">Below the diagonal: overconfident. The size of a point is the share of the '
            f'{predictions.counted}; first seed. {predictions.calibration_note}</p>'
        )
    return 'Calibration', _grid(blocks) + note + _no_predictions(methods)


def _calibration_of_images(methods: Sequence[Method]) -> str:
    bins = [(method.name, of_method) for method in methods if (of_method := _bins(method)) is not None]
    if not bins:
        why = 'Not shown: no run was tested with <code>ltmm.CalibrationMetric</code>, and none has predictions.'
        return f'<p class="note">{why}</p>'
    note = 'Below the diagonal: overconfident. The size of a point is the share of the images; first seed.'
    drawn = plot(figures.reliability_plot(bins, ('confidence', 'accuracy'), 'images'))
    return f'<p>{_errors(bins)}</p>{drawn}<p class="note">{note}</p>'


def _errors(bins: Sequence[tuple[str, CalibrationBins]]) -> str:
    errors = ', '.join(f'{escape(name)} {100 * expected_calibration_error(of):.2f}' for name, of in bins)
    return f'Expected calibration error in percent: {errors}.'


def worst_classes(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """The classes with the lowest accuracy or AP, what they are mistaken for, and pictures."""
    html, has_mistakes = '', False
    for method in methods:
        values, report, predictions = method.values, method.report, method.predictions
        images = np.zeros(len(values)) if report.train_images is None else report.train_images
        order = np.lexsort((-images, np.nan_to_num(values, nan=np.inf)))  # among equals, the frequent first
        rows, kinds = [], []
        for c in order[~np.isnan(values[order])][:NUM_WORST].tolist():
            cells = ''
            if predictions is not None:
                worst = predictions.worst(c, predictions.num_pictures)
                has_mistakes, kinds = has_mistakes or any(worst.values()), list(worst)
                cells = _mistaken_for(predictions, c) + _thumbnails(predictions, worst, pictures)
            train = '-' if report.train_images is None else f'{report.train_images[c]:,}'
            rows.append(
                f'<tr><th>{escape(report.names[c])}</th><td class="n">{values[c]:.1f}</td><td class="n">{train}</td>'
                f'<td class="n">{report.test_images[c]:,}</td>{cells}</tr>'
            )
        header = (
            f'<th>class</th><th class="n">{escape(report.value_name)} (%)</th><th class="n">training</th>'
            '<th class="n">test</th>'
        )
        header += ''.join(f'<th>{title}</th>' for title in ('mistaken for', *kinds) if kinds)
        html += f'<h3>{escape(method.name)}</h3>{_table(header, rows)}'
        lowest = values[order[0]]
        if (tied := int((values == lowest).sum())) > NUM_WORST:
            html += f'<p class="note">{NUM_WORST} of the {tied} classes at {lowest:.1f} %.</p>'
    if 'class="whole"' in html:
        html += BOX_COLORS
    if '<img' not in html and has_mistakes:
        html += NO_PICTURES
    return 'Worst classes', html + _no_predictions(methods, 'mistakes and pictures ')


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
    return 'Cost', f'{_table(f"<th>method</th>{header}", rows)}<p class="note">{note}</p>'


SECTIONS = (
    results, settings, distribution, curves, groups, per_class, confusion, calibration, worst_classes, cost,
)  # fmt: skip


def plot(figure: go.Figure) -> str:
    """Return the HTML of a figure, without plotly.js."""
    config = dict(displaylogo=False, displayModeBar=False, responsive=True)
    return f'<div class="plot">{figure.to_html(full_html=False, include_plotlyjs=False, config=config)}</div>'


def _mistaken_for(predictions: Predictions, label: int) -> str:
    mistaken = predictions.mistaken_for(label)
    other = f'{escape(predictions.names[mistaken[0]])} <small>{mistaken[1]:.0f} %</small>' if mistaken else '-'
    return f'<td>{other}</td>'


def _thumbnails(predictions: Predictions, worst: dict[str, list[Picture]], pictures: Pictures) -> str:
    """Return a cell of pictures per kind of mistake."""
    cells = ''
    for shown in worst.values():
        images = ''
        for picture in shown:
            source = pictures(predictions.paths[picture.image], int(predictions.sample_idx[picture.image]))
            if picture.objects is None:
                uri, style = thumbnail(source), ''
            else:
                boxes = [(OBJECT_COLOR, picture.objects), (BOX_COLOR, picture.boxes)]
                uri, style = thumbnail(source, 192, boxes), ' class="whole"'
            caption = escape(picture.caption)
            images += f'<img{style} src="{uri}" title="{caption}" alt="{caption}">' if uri else ''
        cells += f'<td class="thumbs">{images}</td>'
    return cells


def _no_predictions(methods: Sequence[Method], what: str = '') -> str:
    """Say of which methods something is not shown, and why, in a line per reason."""
    reasons: dict[str, list[str]] = {}
    for method in methods:
        if method.predictions is None:
            reasons.setdefault(method.why_no_predictions, []).append(escape(method.name))
    lines = []
    for reason, names in reasons.items():
        of = f'{what}of {", ".join(names)} ' if len(names) < len(methods) else what
        start = f'{of[0].upper()}{of[1:-1]}: not' if of else 'Not'
        lines.append(f'<p class="note">{start} shown: {reason}</p>')
    return ''.join(lines)


def _grid(parts: Sequence[str]) -> str:
    return f'<div class="pair">{"".join(parts)}</div>'


def _bins(method: Method) -> CalibrationBins | None:
    for run in method.runs:
        if run.bins is not None:
            return run.bins
    bins = method.predictions.calibration([]) if method.predictions else []
    return bins[0][1] if bins else None


def _table(header: str, rows: Sequence[str]) -> str:
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _cut(value: str, length: int = 160) -> str:
    return escape(value if len(value) <= length else value[: length - 1] + '…') or '<span class="none">not set</span>'


def _median(values) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
