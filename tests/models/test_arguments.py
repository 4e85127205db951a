"""Constants that make no sense are refused when a layer, backbone, neck or aggregation is built, by their name."""

import pytest
import torch

from ltmm.registry import MODELS

LAYER = dict(in_features=8, out_features=3)
PARTS = [  # part, arguments that make sense, values that do not
    ('NormedLinear', LAYER, dict(scale=[0, -1.0])),
    ('NearestMean', LAYER, dict(transform=['l2'], similarity=['cos'])),
    ('MetaEmbedding', LAYER, dict(scale=[0])),
    ('CausalCosine', dict(LAYER, mode='head'), dict(mode=['median'], scale=[0], num_heads=[3, 0], momentum=[1.0])),
    ('CausalCosine', dict(LAYER, mode='tde'), dict(alpha=[float('inf')], gamma=[-0.1], lr_bound=[0])),
    ('WeightedAggregation', dict(weights=[0.5, 0.5]), dict(weights=[[0.5, 0.6], [1.5, -0.5], []])),
    ('EvidentialAggregation', dict(), dict(eta=[0], normalize=['class'])),
    ('PFC', dict(in_channels=6, out_channels=4, dropout=0.5), dict(dropout=[1])),
    ('ResNetCIFAR', dict(depth=8), dict(depth=[2, 18, 34, 55])),
    ('MultiExpertResNetCIFAR', dict(depth=8), dict(depth=[33], num_experts=[0], expert_stages=[(1, 3), (1, 1)])),
    ('MultiExpertResNetCIFAR', dict(depth=8), dict(channels=[(16, 32)], shortcut=['C'], stage_blocks=[(1, 1, 2)])),
    ('MultiExpertResNet', dict(depth=10), dict(depth=[11], channels=[(16, 32)], expert_stages=[(4,)])),
    ('MultiExpertResNeXt', dict(depth=50), dict(depth=[18])),
    ('SHIKEResNetCIFAR', dict(depth=8), dict(channels=[(16, 24, 48), (16, 32), ()])),
]
CASES = [(part, good, name, value) for part, good, bad in PARTS for name, values in bad.items() for value in values]


@pytest.mark.parametrize('part, good, name, value', CASES, ids=[f'{part}-{name}={v}' for part, _, name, v in CASES])
def test_bad_argument(part, good, name, value):
    with torch.device('meta'):
        MODELS.build(dict(good, type=f'ltmm.{part}'))
    with pytest.raises(ValueError, match=f'`{name}`'):
        MODELS.build({**good, 'type': f'ltmm.{part}', name: value})
