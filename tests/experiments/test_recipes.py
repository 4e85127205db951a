"""Which stages a recipe's settings of whole trainings reach."""

import pytest
from mmengine.config import Config

from ltmm.experiments.recipes import from_scratch


@pytest.mark.parametrize(
    ('kinds', 'expected'),
    [
        ((), ['']),
        (('Train', 'Train'), ['stage1.']),
        (('Train', 'PostProcess'), ['stage1.']),
        (('Teacher', 'Teacher', 'Train'), ['stage1.', 'stage2.', 'stage3.']),
        (('Pretrain', 'Train'), ['stage1.', 'stage2.']),
        (('Pretrain', 'Train', 'Train'), ['stage1.', 'stage2.']),
    ],
)
def test_stages_of_a_whole_training(kinds, expected):
    stages = [dict(type=f'ltmm.{kind}Stage') for kind in kinds]
    assert from_scratch(Config(dict(stages=stages) if stages else {})) == expected
