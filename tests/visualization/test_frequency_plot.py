import numpy as np
import pytest
from PIL import Image

from ltmm import ClassDistribution
from ltmm.evaluation import PerClassReport, Run, class_scores
from ltmm.visualization import frequency_plot, plot_accuracy_against_frequency, plot_groups_against_frequency
from ltmm.visualization.frequency_plot import MIN_SMOOTH_CLASSES, smooth_over_images
from ltmm.visualization.style import RUN_COLORS


def make_run(name, hits, counts=(300, 50, 5), method=''):
    """A run with hits[c] correct predictions for ten test images of class c."""
    distribution = ClassDistribution(counts, class_names=[f'class {c}' for c in range(len(counts))])
    label = np.repeat(np.arange(len(counts)), 10)
    pred = np.where(np.tile(np.arange(10), len(counts)) < np.repeat(hits, 10), label, (label + 1) % len(counts))
    scores = class_scores(pred, label, len(counts))
    return Run(name, PerClassReport.from_scores(scores, distribution, distribution.shots()), method)


@pytest.mark.parametrize('counts', [(300, 50, 5), (300, 50, 0), (7, 7, 7)], ids=['usual', 'zero count', 'balanced'])
def test_each_run_has_its_color(tmp_path, counts):
    runs = [make_run('ce', (9, 5, 0), counts), make_run('balanced', (8, 6, 4), counts)]
    path = plot_accuracy_against_frequency(runs, tmp_path / 'new folder' / 'runs.png', title='toy')
    pixels = np.asarray(Image.open(path).convert('RGB')).reshape(-1, 3)
    for color in RUN_COLORS[:2]:
        rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels - np.array(rgb)).sum(1) < 10).sum() > 50
    assert not (pixels == [int(RUN_COLORS[2][i : i + 2], 16) for i in (1, 3, 5)]).all(1).any()


def test_panels_share_a_legend(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(frequency_plot, 'save_figure', lambda figure, path: drawn.append(figure))
    few, many = [('all', 'expert 0')[:n] for n in (1, 2)]
    groups = [(title, [make_run(name, (9, 5, 0)) for name in names]) for title, names in (('A', few), ('B', many))]
    plot_groups_against_frequency(groups, tmp_path / 'panels.png')
    (figure,) = drawn
    assert [axes.get_title(loc='left') for axes in figure.axes] == ['A', 'B']
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['all', 'expert 0']
    assert [len(axes.get_legend_handles_labels()[1]) for axes in figure.axes] == [1, 2]


@pytest.mark.parametrize('num_classes', [MIN_SMOOTH_CLASSES - 1, MIN_SMOOTH_CLASSES])
def test_curves_from_30_classes_on(tmp_path, monkeypatch, num_classes):
    drawn = []
    monkeypatch.setattr(frequency_plot, 'save_figure', lambda figure, path: drawn.append(figure))
    counts = np.geomspace(300, 5, num_classes).astype(int)
    runs = [make_run(name, np.full(num_classes, 5), counts) for name in ('ce', 'balanced')]
    plot_accuracy_against_frequency(runs, tmp_path / 'runs.png')
    (axes,) = drawn[0].axes
    curves = [line for line in axes.lines if line.get_label() in ('ce', 'balanced')]
    first, second = (points.get_offsets()[:, 0] for points in axes.collections)
    if num_classes < 30:
        assert not curves and (first < counts).all() and (counts < second).all()  # side by side
    else:
        assert len(curves) == 2 and (first == counts).all() and (second == counts).all()
    assert axes.get_legend_handles_labels()[1] == ['ce', 'balanced']


@pytest.mark.parametrize('num_classes', [MIN_SMOOTH_CLASSES - 1, MIN_SMOOTH_CLASSES])
def test_seeds_are_one_method_with_a_range(tmp_path, monkeypatch, num_classes):
    drawn = []
    monkeypatch.setattr(frequency_plot, 'save_figure', lambda figure, path: drawn.append(figure))
    counts = np.geomspace(300, 5, num_classes).astype(int)
    seeds = [make_run(f'ce, {n}', np.full(num_classes, n), counts, 'ce') for n in (3, 4, 8)]
    plot_accuracy_against_frequency([*seeds, make_run('balanced', np.full(num_classes, 9), counts)], tmp_path / 'x.png')
    (axes,) = drawn[0].axes
    assert axes.get_legend_handles_labels()[1] == ['ce, 3 seeds', 'balanced']
    points, span, *rest = axes.collections
    assert np.allclose(points.get_offsets()[:, 1], 50)  # mean
    corners = np.concatenate([path.vertices for path in span.get_paths()])[:, 1]
    assert (corners.min(), corners.max()) == pytest.approx((30, 80))
    assert len(rest) == 1 and np.allclose(rest[0].get_offsets()[:, 1], 90)  # one seed has no range


def test_seeds_of_other_data(tmp_path):
    seeds = [make_run('a', (9, 5, 0), method='ce'), make_run('b', (9, 5, 0), (300, 50, 6), 'ce')]
    with pytest.raises(ValueError, match='the same training images per class, but those of b and a differ'):
        plot_accuracy_against_frequency(seeds, tmp_path / 'runs.png')


def test_more_runs_than_colors(tmp_path):
    runs = [make_run(str(n), (9, 5, 0)) for n in range(8)]
    with pytest.raises(ValueError, match='up to 7 methods of one kind, but got 8'):
        plot_accuracy_against_frequency(runs, tmp_path / 'runs.png')


def test_smooth_is_a_local_mean():
    images = np.repeat([10, 1000], 50)
    recall = np.repeat([20.0, 80.0], 50)
    x, y = smooth_over_images(images, recall)
    np.testing.assert_allclose((x[0], x[-1], y[0], y[-1]), (10, 1000, 20, 80), rtol=1e-6)
    assert (np.diff(y) > -1e-9).all()
