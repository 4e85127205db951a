import json

import pytest
import torch
from toy import ROOT

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.models.losses import MaskedFeatureLoss, QuerySharedKDLoss

LOSSES = pytest.mark.parametrize('loss', [QuerySharedKDLoss, MaskedFeatureLoss])


@LOSSES
def test_head_classes_have_more_images_than_the_bound_however_many_instances(loss):
    distribution = ClassDistribution([500, 200, 90, 10], [31, 30, 50, 10], num_images=60)
    assert loss(class_counts=distribution).get_head_classes().tolist() == [0, 2]
    assert loss(min_images=9, class_counts=distribution).get_head_classes().tolist() == [0, 1, 2, 3]


@LOSSES
def test_the_distribution_comes_from_the_hook_and_with_a_checkpoint(loss):
    module = loss()
    with pytest.raises(RuntimeError, match=rf'{loss.__name__} needs the class distribution of the training data'):
        module.get_head_classes()
    module.set_class_distribution(ClassDistribution([40, 3, 35]))
    assert module.get_head_classes().tolist() == [0, 2]
    other = loss()
    other.load_state_dict(module.state_dict())
    assert other.get_head_classes().tolist() == [0, 2]


@LOSSES
def test_no_head_class_is_an_error_that_says_what_to_do(loss):
    message = rf'{loss.__name__}: no class has more than min_images=30 .* has 12. Lower `min_im'
    with pytest.raises(ClassDistributionError, match=message):
        loss(class_counts=[12, 5, 0])


@LOSSES
@pytest.mark.parametrize('weight', [-1, float('nan')])
def test_a_weight_that_is_none_is_refused(loss, weight):
    with pytest.raises(ValueError, match=f'`loss_weight` to be >= 0, but got {weight}'):
        loss(loss_weight=weight)


@LOSSES
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_head_classes_move_with_the_module(loss):
    assert loss(class_counts=[40, 3]).cuda().get_head_classes().is_cuda
    module = loss().cuda()
    module.set_class_distribution(ClassDistribution([40, 3]))
    assert module.get_head_classes().is_cuda


@pytest.mark.skipif(not (ROOT / 'data/lvis_v1').is_dir(), reason='LVIS v1 is not in data/lvis_v1')
def test_650_classes_of_lvis_are_head():
    images = json.loads((ROOT / 'data/lvis_v1/annotations/lvis_v1_train.json').read_text())['categories']
    distribution = ClassDistribution([c['instance_count'] for c in images], [c['image_count'] for c in images], 100170)
    assert len(QuerySharedKDLoss(class_counts=distribution).get_head_classes()) == 650
