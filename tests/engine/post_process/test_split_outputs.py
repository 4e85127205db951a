import pytest
import torch
from mmpretrain.models.heads import LinearClsHead

from ltmm.engine.post_process import SplitOutputs
from ltmm.engine.runner.model_outputs import ModelOutputs

FEATURES = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
LABEL = torch.tensor([0, 0, 0, 0, 1, 1, 1, 3, 3])


def split(passes, **options):
    def load(with_logits):
        passes.append(with_logits)
        return ModelOutputs(FEATURES, FEATURES if with_logits else None, LABEL)

    return SplitOutputs(load, LinearClsHead(4, 4), **options)


def test_class_means_and_population_variances():
    outputs = split([])
    means, variances = outputs.class_means(), outputs.class_variances()
    for c in (0, 1, 3):
        own = FEATURES[LABEL == c].double()
        torch.testing.assert_close(means[c], own.mean(0))
        torch.testing.assert_close(variances[c], own.var(0, unbiased=False))
    assert means.shape == variances.shape == (4, 4)
    assert not means[2].any() and not variances[2].any()


@pytest.mark.parametrize('with_logits, expected', [(True, [True]), (False, [False, True])])
def test_data_are_read_when_first_used(with_logits, expected):
    passes = []
    outputs = split(passes, with_logits=with_logits)
    assert passes == []
    assert outputs.features is FEATURES and outputs.label is LABEL and outputs.logits is FEATURES
    assert outputs.features is FEATURES and passes == expected
