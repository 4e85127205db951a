"""The sections of the page that need predictions. All text that comes from a run is escaped."""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from ltmm.evaluation.functional import CalibrationBins, expected_calibration_error
from ltmm.evaluation.reports.per_class_report import PerClassReport

from . import figures
from .markup import grid, plot, table
from .predictions import Picture, Predictions
from .run_files import Method
from .thumbnails import thumbnail

__all__ = ['Pictures', 'calibration', 'confusion', 'worst_classes']

NUM_WORST, NUM_PAIRS = 8, 5
OBJECT_COLOR, BOX_COLOR = '#ffffff', '#ff8c00'
BOX_COLORS = (
    '<p class="note">In the pictures: objects white, predicted boxes orange. Hover for the classes and scores.</p>'
)
NO_PICTURES = (
    '<p class="note">Pictures: not shown: the predictions name no image file that can be read here. Data in memory '
    '(CIFAR) needs <code>--config CONFIG</code>; features have no pictures.</p>'
)
Pictures = Callable[[str, int], np.ndarray | str | None]  # (path, sample_idx) -> pixels or path


def confusion(methods: Sequence[Method], pictures: Pictures) -> tuple[str, str]:
    """Where the images, labels or objects of rare classes go."""
    blocks, note = [], ''
    for method in methods:
        if predictions := method.predictions:
            drawn = [plot(figure) for figure in (figures.confusion_plot(method), figures.boxes_plot(method)) if figure]
            blocks.append(f'<div>{grid(drawn)}{_frequent_mistakes(method)}</div>')
            note = f'<p class="note">{predictions.note} Of one seed, the first with predictions.</p>'
    html = grid(blocks) if len(blocks) > 1 and len(drawn) == 1 else ''.join(blocks)
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
    return 'Calibration', grid(blocks) + note + _no_predictions(methods)


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
        html += f'<h3>{escape(method.name)}</h3>{table(header, rows)}'
        lowest = values[order[0]]
        if (tied := int((values == lowest).sum())) > NUM_WORST:
            html += f'<p class="note">{NUM_WORST} of the {tied} classes at {lowest:.1f} %.</p>'
    if 'class="whole"' in html:
        html += BOX_COLORS
    if '<img' not in html and has_mistakes:
        html += NO_PICTURES
    return 'Worst classes', html + _no_predictions(methods, 'mistakes and pictures ')


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


def _bins(method: Method) -> CalibrationBins | None:
    for run in method.runs:
        if run.bins is not None:
            return run.bins
    bins = method.predictions.calibration([]) if method.predictions else []
    return bins[0][1] if bins else None
