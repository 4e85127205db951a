import json
from pathlib import Path

import pytest
from toy import ROOT
from toy_lvis import lvis_content
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


def test_lvis_needs_no_framework(tmp_path):
    blocked = ('torch', 'torchvision', 'mmcv', 'mmpretrain', 'mmdet', 'scipy', 'pandas', 'matplotlib', 'hotcoco')
    without = f'import sys; sys.modules.update(dict.fromkeys({blocked}))\n'
    content = lvis_content(num_images=20)
    found = [{**{k: ann[k] for k in ('image_id', 'category_id', 'bbox')}, 'score': 1} for ann in content['annotations']]
    for name, part in (('ann', content), ('a', found), ('b', found[1:])):
        (tmp_path / f'{name}.json').write_text(json.dumps(part))
    script = f"""
import runpy
from ltmm.evaluation.lvis import hotcoco_eval, lvis_data, lvis_eval, paired_bootstrap
runpy.run_path({str(ROOT / 'tools/analysis_tools/compare_lvis.py')!r})['main'](
    [*{[str(tmp_path / f'{name}.json') for name in ('ann', 'a', 'b')]}, '--num-resamples', '5']
)
"""
    assert 'APf' in run_program('-c', without + script).stdout
    tool = f"""
import runpy
sys.argv = ['compare_lvis.py', *{[str(tmp_path / name) for name in ('ann.json', 'a.json', 'none.json')]}]
runpy.run_path({str(ROOT / 'tools/analysis_tools/compare_lvis.py')!r}, run_name='__main__')
"""
    assert run_program('-c', without + tool).stderr.startswith('[Errno 2] No such file or directory')
    plain = f'import sys, ltmm.evaluation.lvis.hotcoco_eval; print([m for m in {blocked} if m in sys.modules])'
    assert run_program('-c', plain).stdout.strip() == '[]'  # nor where they are installed


def test_metrics_of_mmengine_are_found():
    assert ltmm.evaluation.LongTailMetric is ltmm.evaluation.metrics.LongTailMetric
    with pytest.raises(AttributeError, match="'ltmm.evaluation' has no attribute 'LongTail'"):
        ltmm.evaluation.LongTail  # noqa: B018
