import pytest
import torch

from ltmm.registry import MODELS


def test_features_go_through_to_the_head():
    backbone = dict(type='ltmm.IdentityBackbone')
    head = dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=5)
    model = MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=backbone, head=head)).eval()
    x = torch.randn(4, 5)
    assert torch.equal(model(x), model.head.fc(x))
    assert not list(model.backbone.parameters())


def test_images_are_refused():
    with pytest.raises(ValueError, match=r'features of shape \(N, D\), but got \(2, 3, 8, 8\).*ltmm.FeatureDataset'):
        MODELS.build(dict(type='ltmm.IdentityBackbone'))(torch.zeros(2, 3, 8, 8))
