import pytest
import torch

from ltmm.engine.post_process import SplitOutputs
from ltmm.engine.runner.model_outputs import ModelOutputs
from ltmm.models.layers import NearestMean
from ltmm.models.post_process import NearestClassMean


def test_logits_of_the_class_means(head, features):
    label = torch.tensor([0, 1, 2, 3, 0])
    step = NearestClassMean('l2n', 'dot')
    step.fit(SplitOutputs(lambda with_logits: ModelOutputs(features, None, label), head), None)
    layer = NearestMean(6, 4, 'l2n', 'dot')
    layer.fit(features, label)
    assert torch.equal(step(head.fc(features), features, head), layer(features))


def test_needs_fit(head, features):
    with pytest.raises(RuntimeError, match='NearestMean has no class means yet'):
        NearestClassMean()(head.fc(features), features, head)
