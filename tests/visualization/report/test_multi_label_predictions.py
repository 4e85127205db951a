import re

import numpy as np
import pytest
from toy_runs import toy_multi_label_run

pytest.importorskip('plotly')

from ltmm.evaluation.functional import expected_calibration_error
from ltmm.visualization.report import write_report
from ltmm.visualization.report.multi_label_predictions import MultiLabelPredictions
from ltmm.visualization.report.run_files import read_run_files

NAMES = ['kite', 'ladder', 'mug', 'oar']
COUNTS = [300, 50, 5, 3]


def toy_labels(seed=0, num=40):
    """Scores with ties; unknown labels, no positive of class 2, an image with positives only, one of unknown ones."""
    rng = np.random.default_rng(seed)
    target = rng.choice([-1, 0, 1], (num, 4), p=[0.3, 0.4, 0.3])
    target[:, 2] = np.minimum(target[:, 2], 0)
    target[0], target[1] = [1, 1, -1, 1], -1
    return rng.random((num, 4)).round(1), target


@pytest.fixture
def predictions():
    scores, target = toy_labels()
    return MultiLabelPredictions.from_scores(tuple(NAMES), scores, target, paths=[''] * 40, sample_idx=np.arange(40))


def test_cases_equal_a_loop(predictions):
    expected = []
    for score, target in zip(predictions.scores, predictions.target):
        negatives = [c for c in range(4) if target[c] == 0]
        for c in range(4):
            if target[c] == 1 and negatives:
                best = max(negatives, key=lambda other: (score[other], -other))
                expected.append((c, c if score[c] > score[best] else best))
    assert list(zip(predictions.label.tolist(), predictions.pred.tolist())) == expected
    assert any(a == b for a, b in expected) and any(a != b for a, b in expected)
    few = np.array([False, False, True, True])
    oars = [other for c, other in expected if c == 3]
    shares = predictions.confusion_of_groups([~few, few])
    wrong = [sum(o != 3 and few[o] == group for o in oars) for group in (False, True)]
    np.testing.assert_allclose(shares[1], 100 * np.array([oars.count(3), *wrong]) / len(oars))
    pairs = {(3, o): oars.count(o) for o in oars if o != 3}
    assert {(a, b): n for a, b, n in predictions.frequent_mistakes(few, 9)} == pairs


def test_calibration_equals_a_loop(predictions):
    few = np.array([False, False, True, True])
    none = np.zeros(4, bool)
    for (name, bins), classes in zip(predictions.calibration([('few', few), ('no', none)]), (range(4), (2, 3))):
        pairs = [(s[c], t[c]) for s, t in zip(predictions.scores, predictions.target) for c in classes if t[c] != -1]
        error = 0
        for k in range(15):
            inside = [pair for pair in pairs if k / 15 < pair[0] <= (k + 1) / 15]
            if inside:
                error += abs(sum(t for _, t in inside) - sum(s for s, _ in inside)) / len(pairs)
        assert expected_calibration_error(bins) == pytest.approx(error), name
        assert bins.num_samples == len(pairs)


def test_worst_pictures_are_out_of_order(predictions):
    worst = predictions.worst(3, 99)
    score, target = predictions.scores[:, 3], predictions.target[:, 3]
    low, high = ([picture.image for picture in pictures] for pictures in worst.values())
    assert sorted(low) == [i for i in range(40) if target[i] == 1 and any(score[target == 0] >= score[i])]
    assert sorted(high) == [i for i in range(40) if target[i] == 0 and any(score[target == 1] <= score[i])]
    assert (np.diff(score[low]) >= 0).all() and (np.diff(score[high]) <= 0).all()
    assert predictions.worst(2, 5) == {'positives ranked lowest': [], 'negatives ranked highest': []}


def page_of(run, tmp_path):
    text = write_report([run], tmp_path / 'report.html').read_text(encoding='utf-8')
    return re.sub(r'<script>/\*\*.*?</script>', '', text, count=1, flags=re.DOTALL)  # without plotly.js


def test_page(tmp_path):
    run = toy_multi_label_run(tmp_path / 'run', NAMES, COUNTS, *toy_labels())
    page = page_of(run, tmp_path)
    assert 'Not shown: no run has a dumped config' in page and page.count('shown') == page.count('Not shown') == 2
    assert 'positives ranked lowest' in page and 'below head' in page and page.count('data:image/jpeg') > 10
    assert 'Most frequent mistakes, tail: oar → ' in page


def test_what_does_not_fit_is_said(tmp_path):
    scores, target = toy_labels()
    page = page_of(toy_multi_label_run(tmp_path / 'logits', NAMES, COUNTS, 5 * scores - 2, target), tmp_path)
    assert 'not shown: the scores are not in [0, 1]' in page and 'Most frequent mistakes' in page
    run = toy_multi_label_run(tmp_path / 'run', NAMES, COUNTS, scores, target)
    toy_multi_label_run(tmp_path / 'other', NAMES, COUNTS, scores[:30], target[:30])
    (tmp_path / 'other/predictions.npz').rename(run / 'predictions.npz')
    assert read_run_files(run).predictions is None
    page = page_of(run, tmp_path)
    assert page.count('hown: predictions.npz and the per-class CSV are of other test sets') == 3
    toy_multi_label_run(tmp_path / 'three', NAMES[:3], COUNTS[:3], scores[:, :3], target[:, :3])
    (tmp_path / 'three/predictions.npz').rename(run / 'predictions.npz')
    with pytest.raises(ValueError, match='of 4 classes for each image, as the per-class CSV, but image 0 has not'):
        page_of(run, tmp_path)
