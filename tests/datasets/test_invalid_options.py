"""Invalid values of constant options of samplers, wrappers and transforms."""

import numpy as np
import pytest
from mmengine.dataset import BaseDataset

from ltmm.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS

COUNTS = [40, 9, 3, 1]


class Labels(BaseDataset):
    """A single-label or multi-label dataset of labels only."""

    def __init__(self, as_list=False):
        self.as_list = as_list
        super().__init__(metainfo=dict(classes=('a', 'b', 'c', 'd')), serialize_data=False)

    def load_data_list(self):
        labels = np.repeat(np.arange(4), COUNTS).tolist()
        return [dict(gt_label=[label] if self.as_list else label) for label in labels]


PLAIN, BALANCED = dict(type='DefaultSampler', shuffle=True), dict(type='ltmm.PowerSampler', power=0)
DEFERRED = dict(before=PLAIN, after=BALANCED, start_epoch=2)
RFS = dict(threshold=0.4)
LONG_TAILED = dict(imbalance_factor=2)
SHIFTED = dict(imbalance_factor=2, direction='forward')
PARTIAL = dict(missing_rate=0.4)


@pytest.mark.parametrize(
    'name, options, message',
    [
        ('PowerSampler', dict(power=0, length=0), '`length`'),
        ('PowerSampler', dict(power=0, length=2.5), '`length`'),
        ('PowerSampler', dict(power=0, length=True), '`length`'),
        ('PowerSampler', dict(power=float('nan')), '`power`'),
        ('PowerSampler', dict(power=float('inf')), '`power`'),
        ('EffectiveNumberSampler', dict(beta=1), '`beta`'),
        ('EffectiveNumberSampler', dict(beta=-0.1), '`beta`'),
        ('ProgressivelyBalancedSampler', dict(total_epochs=1), '`total_epochs`'),
        ('ProgressivelyBalancedSampler', dict(total_epochs=2.5), '`total_epochs`'),
        ('ClassAwareSampler', dict(num_samples_per_class=0), '`num_samples_per_class`'),
        ('ClassAwareSampler', dict(length='max', reduce=0), '`reduce`'),
        ('ClassAwareSampler', dict(reduce=4), "`reduce` needs length='max'"),
        ('ClassAwareSampler', dict(length='max', reduce=10**6), '`length`'),
        ('ClassAwareSampler', dict(length='min'), '`length`'),
        ('DeferredSampler', dict(DEFERRED, start_epoch=-1), '`start_epoch`'),
        ('DeferredSampler', dict(DEFERRED, start_epoch=None), '`start_epoch`'),
        ('DeferredSampler', dict(DEFERRED, after=dict(BALANCED, length=9)), 'Default.* 53 .*PowerSampler 9'),
        ('RepeatFactorSampler', dict(threshold=0), '`threshold`'),
        ('RepeatFactorSampler', dict(threshold=100), '`threshold`'),
        ('RepeatFactorSampler', dict(threshold=(0.5,), group_bounds=(2,)), '`threshold`.* 2 groups'),
        ('RepeatFactorSampler', dict(RFS, power=0), '`power`'),
        ('RepeatFactorSampler', dict(RFS, power=(0.5, 1)), '`power`.* 1 groups'),
        ('RepeatFactorSampler', dict(RFS, power=(0.5, 1), group_bounds=(2, 4)), '`power`.* 3 groups'),
        ('RepeatFactorSampler', dict(RFS, power=(0.5, -1), group_bounds=(2,)), '`power`'),
        ('RepeatFactorSampler', dict(RFS, group_bounds=(4, 2)), 'ascending'),
        ('RepeatFactorSampler', dict(RFS, rounding='floor'), '`rounding`'),
        ('Holdout', dict(part='dev'), '`part`'),
        ('Holdout', dict(part='val', per_class=0), '`per_class`'),
        ('LongTailed', dict(imbalance_factor=0.01), '`imbalance_factor`'),
        ('LongTailed', dict(imbalance_factor=float('nan')), '`imbalance_factor`'),
        ('LongTailed', dict(imbalance_factor=21), 'no image of the rarest class; the largest has 13.25'),
        ('LongTailed', dict(LONG_TAILED, profile='zipf'), '`profile`'),
        ('LongTailed', dict(LONG_TAILED, val_images=0), '`val_images`'),
        ('ShiftedTestSet', dict(SHIFTED, direction='sideways'), '`direction`'),
        ('ShiftedTestSet', dict(SHIFTED, imbalance_factor=0.1), '`imbalance_factor`'),
        ('PartialLabels', dict(missing_rate=1.2), '`missing_rate`'),
        ('PartialLabels', dict(missing_rate='x'), '`missing_rate`'),
        ('PartialLabels', dict(PARTIAL, negative_missing_rate=-1), '`negative_missing_rate`'),
        (
            'PartialLabels',
            dict(PARTIAL, negative_missing_rate=0.5),
            "`negative_missing_rate` needs unknown_as='unknown'",
        ),
        ('PartialLabels', dict(PARTIAL, unknown_as='ignore'), '`unknown_as`'),
        ('PartialLabels', dict(PARTIAL, seed=None), '`seed`'),
        ('PartialLabels', dict(PARTIAL, seed=-1), '`seed`'),
        ('RandomSideCrop', dict(min_share=1.2), '`min_share`'),
    ],
)
def test_invalid_options(name, options, message):
    registry = DATA_SAMPLERS if name.endswith('Sampler') else TRANSFORMS if name.endswith('Crop') else DATASETS
    data = {} if registry is TRANSFORMS else dict(dataset=Labels(as_list=name == 'PartialLabels'))
    with pytest.raises(ValueError, match=message):
        registry.build(dict(options, type=f'ltmm.{name}', **data))
