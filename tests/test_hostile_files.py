"""Numbers, depths and headers that are not what they seem end in one line; a table of (reader, content)."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.wrappers.exemplars import Exemplars
from ltmm.evaluation import CalibrationBins
from ltmm.evaluation.functional.calibration import CSV_HEADER
from ltmm.evaluation.lvis.lvis_data import Detections
from ltmm.evaluation.reports import PerClassReport
from ltmm.utils.errors import InputError

DEEP = '[' * 100_000
GROUND_TRUTH = SimpleNamespace(image_ids=np.array([1]), sizes=np.array([[9, 9]]), category_ids=np.array([1]))


def npy(shape: str) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header.encode() + bytes(80)


def detections(path):
    return Detections.read(path, GROUND_TRUTH)


def result(**values):
    return json.dumps([dict(image_id=1, category_id=1, score=0.5, bbox=[0, 0, 1, 1]) | values])


REPORT = ','.join(PerClassReport._columns())

CASES = [
    ('counts.json', ClassDistribution.build, DEEP),
    ('counts.json', ClassDistribution.build, '[1, 1e400]'),
    ('counts.json', ClassDistribution.build, '[1, 1e300]'),
    ('counts.json', ClassDistribution.build, f'[1, {10**400}]'),
    ('counts.json', ClassDistribution.build, f'[1, {"9" * 5000}]'),
    ('counts.json', ClassDistribution.build, '{"a": {"b": 1}}'),
    ('counts.json', ClassDistribution.build, b'\xff\xfe\x00'),
    ('counts.npy', ClassDistribution.build, npy('(1000000000000,)')),
    ('counts.npy', ClassDistribution.build, npy(f'({10**30},)')),
    ('counts.npy', ClassDistribution.build, npy('(-1,)')),
    ('counts.npy', ClassDistribution.build, npy('(' * 200)),
    ('counts.npy', ClassDistribution.build, b'\x93NUMPY\x01\x00\xff\xff'),
    ('counts.npy', ClassDistribution.build, b'\x80\x02cposix\nsystem\n.'),
    ('found.json', detections, DEEP),
    ('found.json', detections, result(score=10**400)),
    ('found.json', detections, result(score=float('inf'))),
    ('found.json', detections, result(bbox=[0, 0, 1, 10**400])),
    ('found.json', detections, result(bbox=[0, 0, [], 1])),
    ('found.json', detections, result(image_id=10**30)),
    ('found.json', detections, result(category_id=[1])),
    ('exemplars.json', Exemplars.read, DEEP),
    ('exemplars.json', Exemplars.read, '[3]'),
    ('bins.csv', CalibrationBins.read, f'{CSV_HEADER}\n0,1,x,1,1'),
    ('bins.csv', CalibrationBins.read, f'{CSV_HEADER}\n0,1,1e999,1,1'),
    ('bins.csv', CalibrationBins.read, f'{CSV_HEADER}\n0,1'),
    ('report.csv', PerClassReport.read, f'{REPORT}\n0,a,{10**30},many,1,2'),
    ('report.csv', PerClassReport.read, f'{REPORT}\nx,a'),
    ('report.csv', PerClassReport.read, f'{REPORT}\n0'),
]


@pytest.mark.parametrize('name, read, content', CASES)
def test_hostile_file_is_one_line(tmp_path, name, read, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read(str(path))
    assert '\n' not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))
