import pytest
import torch
from mmpretrain.models.heads import DeiTClsHead, LinearClsHead, StackedLinearClsHead, VisionTransformerClsHead
from torch import nn

from ltmm.models.heads import LongTailClsHead
from ltmm.models.post_process import PostProcess, linear_layer


def test_linear_layer_of_any_head(head):
    assert linear_layer(head) is head.fc
    assert linear_layer(longtail := LongTailClsHead(4, 6)) is longtail.fc
    assert linear_layer(vit := VisionTransformerClsHead(4, 6, hidden_dim=5)) is vit.layers.head
    assert linear_layer(stacked := StackedLinearClsHead(4, 6, [5])) is stacked.layers[-1].fc


@pytest.mark.parametrize(
    'classifier',
    [dict(type='ltmm.NormedLinear', scale=16), dict(type='ltmm.ScaledLinear'), dict(type='ltmm.NearestMean')],
)
def test_linear_layer_ignores_other_classifiers(classifier):
    assert linear_layer(LongTailClsHead(4, 6, classifier=classifier)) is None


def test_linear_layer_must_be_unique():
    assert linear_layer(DeiTClsHead(4, 6)) is None


def test_linear_layer_ignores_the_loss():
    head = LinearClsHead(4, 6)
    head.loss_module.projection = nn.Linear(3, 4)
    assert linear_layer(head) is head.fc


def test_correction_has_to_define_forward(head):
    step = PostProcess()
    assert not step.write(head)
    with pytest.raises(NotImplementedError, match='PostProcess must define forward'):
        step(torch.zeros(1, 4), None, head)
