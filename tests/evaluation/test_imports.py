from pathlib import Path

import pytest
from toy_processes import run_program

import ltmm.evaluation


def test_evaluation_does_not_import_visualization():
    files = Path(ltmm.evaluation.__file__).parent.rglob('*.py')
    assert not [file for file in files if 'ltmm.visualization' in file.read_text()]


def test_tensor_metrics_import_neither_openmmlab_nor_plots():
    names = ('mmpretrain', 'mmdet', 'mmcv', 'cv2', 'matplotlib', 'pandas', 'scipy', 'torchvision')
    script = (
        f'import sys, ltmm.evaluation as e; e.LongTailScores([500, 9]); print([m for m in {names} if m in sys.modules])'
    )
    assert run_program('-c', script).stdout.strip() == '[]'


def test_metrics_of_mmengine_are_found():
    assert ltmm.evaluation.LongTailMetric is ltmm.evaluation.metrics.LongTailMetric
    with pytest.raises(AttributeError, match="'ltmm.evaluation' has no attribute 'LongTail'"):
        ltmm.evaluation.LongTail  # noqa: B018
