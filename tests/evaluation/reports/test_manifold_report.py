import csv
import io

import numpy as np
import pytest
import torch

from ltmm import ClassDistribution
from ltmm.evaluation.functional import manifold_volume, subspace_angle_curvature
from ltmm.evaluation.reports import manifold_csv, manifold_rows, manifold_summary
from ltmm.evaluation.reports.manifold_report import rank_correlation
from ltmm.models.losses.contrastive.curvature_loss import class_curvatures
from ltmm.utils.errors import InputError

COUNTS = [120, 30, 5, 1, 0]
LABEL = np.repeat(np.arange(5), COUNTS)
FEATURES = np.random.default_rng(0).normal(size=(len(LABEL), 4)) * (1 + LABEL[:, None])
DISTRIBUTION = ClassDistribution(COUNTS, class_names=list('abcde'))


def test_rows():
    rows = manifold_rows(FEATURES, LABEL, DISTRIBUTION, k=6, max_features=50, normalize=False)
    assert [row['features'] for row in rows] == [50, 30, 5, 1, 0]
    second, third = FEATURES[120:150], FEATURES[150:155]
    assert rows[1]['volume'] == pytest.approx(manifold_volume(second))
    assert rows[1]['density'] == pytest.approx(manifold_volume(second) / 30)
    assert rows[0]['density'] == pytest.approx(rows[0]['volume'] / 120)  # of all features, not of the 50 taken
    assert rows[1]['curvature'] == pytest.approx(subspace_angle_curvature(second, 6).mean())
    assert rows[2]['volume'] == pytest.approx(manifold_volume(third))
    assert np.isnan([rows[2]['curvature'], rows[3]['volume'], rows[3]['density'], rows[4]['curvature']]).all()


def test_gaussian_curvature_is_that_of_the_loss():
    rows = manifold_rows(FEATURES, LABEL, DISTRIBUTION, k=6)
    order = torch.arange(len(LABEL))
    expected, valid = class_curvatures(torch.from_numpy(FEATURES), torch.from_numpy(LABEL), order, 5, 6, 3, 120)
    got = torch.tensor([row['gaussian_curvature'] for row in rows], dtype=torch.float64)
    assert valid.tolist() == [True, True, False, False, False]
    torch.testing.assert_close(got[valid], expected[valid])
    assert got[~valid].isnan().all()


def test_normalized_measures_do_not_depend_on_scale_and_place():
    rows, moved = (manifold_rows(x, LABEL, DISTRIBUTION, k=6) for x in (FEATURES, 7 * FEATURES - 3))
    for row, other in zip(rows, moved):
        assert [row[name] for name in ('volume', 'curvature')] == pytest.approx(
            [other[name] for name in ('volume', 'curvature')], nan_ok=True
        )
    constant = manifold_rows(np.ones_like(FEATURES), LABEL, DISTRIBUTION, k=6)
    assert constant[0]['volume'] == constant[0]['curvature'] == 0


def test_csv_and_summary():
    rows = manifold_rows(FEATURES, LABEL, DISTRIBUTION, k=6)
    table = list(csv.DictReader(io.StringIO(manifold_csv(rows))))
    assert [row['name'] for row in table] == list('abcde') and table[4]['curvature'] == ''
    assert float(table[0]['volume']) == rows[0]['volume']
    summary = manifold_summary(rows)
    assert '3 of 5 classes have too few features' in summary
    assert f'{rows[0]["volume"]:.4g}' in next(line for line in summary.splitlines() if line.startswith('many'))


def test_rank_correlation():
    assert rank_correlation(np.array([1, 2, 3, 9]), np.array([8.0, 5, np.nan, 1])) == pytest.approx(-1)
    assert rank_correlation(np.array([1, 1, 3]), np.array([1.0, 2, 3])) == pytest.approx(np.sqrt(3) / 2)
    assert np.isnan(rank_correlation(np.array([1, 2]), np.array([3.0, 3.0])))


def test_labels_that_do_not_fit():
    with pytest.raises(InputError, match=r'a label in \[0, 2\) for each of 156 features'):
        manifold_rows(FEATURES, LABEL, ClassDistribution([1, 2]))
    with pytest.raises(InputError, match='for each of 3 features'):
        manifold_rows(FEATURES[:3], LABEL, DISTRIBUTION)
