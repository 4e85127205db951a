import csv
import json
from types import SimpleNamespace

import pytest
import yaml
from scipy import stats

from ltmm.experiments import tables

TOP1 = dict(ce=(50.0, 52.0, 51.0), bs=(54.0, 55.5, 55.0), drw=(50.5, 51.0, None))
COLUMNS = dict(top1='long_tail/top1', few='long_tail/few')


@pytest.fixture
def runs():
    record = dict(seconds=60.0, time_is_lower_bound=False, epochs='2', date='2026-01-02', hardware='CPU', commit='abc')
    return [
        SimpleNamespace(
            name=name,
            seed=seed,
            is_complete=value is not None,
            record=dict(record, metrics={'long_tail/top1': value, 'long_tail/few': -1}),
        )
        for name, figures in TOP1.items()
        for seed, value in enumerate(figures)
    ]


def test_compared_columns(runs):
    head, _, ce, bs, drw = (
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in tables.table(runs, COLUMNS, ['top1', 'few']).splitlines()
    )
    assert head[:8] == ['method', 'top1', 'few', 'Δ top1 [95 %]', 'p (top1)', 'Δ few [95 %]', 'p (few)', 'seeds']
    assert ce[3:7] == ['-'] * 4 and bs[5:7] == drw[5:7] == ['-', '-']
    expected = stats.ttest_rel(TOP1['bs'], TOP1['ce'])
    low, high = expected.confidence_interval()
    assert bs[3:5] == [f'+3.83 [{low:+.2f}, {high:+.2f}]', f'{2 * expected.pvalue:.3f}']
    assert drw[3].startswith('-0.25 [')  # over seeds 0 and 1


def test_explanation_counts_common_complete_seeds(runs):
    three, two = [run for run in runs if run.name != 'drw'], runs
    text = tables.explanation(three, COLUMNS, ['top1'])
    assert 'difference from ce' in text and 'With 3 seeds this says little: the interval rests on 2 degrees' in text
    assert 'With 2 seeds this says little: the interval rests on 1 degree of' in tables.explanation(
        two, COLUMNS, ['top1']
    )
    one = [run for run in runs if run.seed == 0]
    assert tables.explanation(one, COLUMNS, ['top1']).endswith('Of one common seed there is neither.')
    assert tables.explanation(runs, COLUMNS, []) == ''


def test_csv_json_and_yaml_agree(runs, tmp_path):
    for suffix in ('csv', 'json', 'yml'):
        tables.write(tmp_path / f'deep/table.{suffix}', runs, COLUMNS, 'python ...')
    with open(tmp_path / 'deep/table.csv', newline='') as file:
        found = {(row['method'], row['column']): row for row in csv.DictReader(file)}
    content = json.loads((tmp_path / 'deep/table.json').read_text())
    (record,) = yaml.safe_load((tmp_path / 'deep/table.yml').read_text())
    assert content['command'] == record['command'] == 'python ...'
    assert len(content['rows']) == len(found) == 6
    for row in content['rows']:
        line = found[row['method'], row['column']]
        for key in ('mean', 'std', 'difference', 'low', 'high', 'p', 'p_holm'):
            assert line[key] == ('' if row[key] is None else str(row[key])), key
        if row['mean'] is not None:
            assert record['rows'][row['method']][0].startswith(f'{row["mean"]:.2f}')
    bs = found['bs', 'top1']
    assert [float(bs[f'seed_{seed}']) for seed in range(3)] == list(TOP1['bs'])
    assert found['drw', 'top1']['seed_2'] == '' and found['bs', 'few']['mean'] == ''
    assert 'NaN' not in (tmp_path / 'deep/table.json').read_text()
