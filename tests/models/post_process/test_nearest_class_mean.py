import pytest
import torch

from ltmm.engine.post_process import SplitOutputs
from ltmm.engine.runner.model_outputs import ModelOutputs
from ltmm.models.layers import NearestMean
from ltmm.models.post_process import NearestClassMean
from ltmm.registry import MODELS


def test_it_replaces_the_logits_by_those_of_the_class_means(head, features):
    label = torch.tensor([0, 1, 2, 3, 0])
    step = NearestClassMean('l2n', 'dot')
    step.fit(SplitOutputs(lambda with_logits: ModelOutputs(features, None, label), head), None)
    layer = NearestMean(6, 4, 'l2n', 'dot')
    layer.fit(features, label)
    assert torch.equal(step(head.fc(features), features, head), layer(features))


def test_it_needs_means_first(head, features):
    with pytest.raises(RuntimeError, match='NearestMean has no class means yet'):
        NearestClassMean()(head.fc(features), features, head)


def test_the_settings_build_it_again():
    step = NearestClassMean('un', 'dot')
    assert MODELS.build(dict(type='ltmm.NearestClassMean', **step.settings())).settings() == step.settings()
    with pytest.raises(ValueError, match=r"one of \['un', 'l2n', 'cl2n'\], but got 'l1'"):
        NearestClassMean('l1')
