# PaCo on photos has the two views of NCL. GPaCo on ImageNet-LT: both with RandAugment, the second one distorted before.
_base_ = './ncl_224.py'
rand_augment = dict(
    type='RandAugment', policies={{_base_.policies}}, num_policies=2, magnitude_level=10, magnitude_std=0.5
)
stack = [dict(type='Compose', transforms={{_base_.view}}), rand_augment]
gpaco_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[1, 1], transforms=[{{_base_.strong}}, stack]),
    dict(type='PackInputs'),
]
# with three operations in place of two, for ResNeXt-50
three = dict(rand_augment, num_policies=3)
strong_of_three = [dict(type='Compose', transforms={{_base_.weak}}), three]
stack_of_three = [dict(type='Compose', transforms={{_base_.view}}), three]
gpaco_pipeline_of_three = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=[1, 1], transforms=[strong_of_three, stack_of_three]),
    dict(type='PackInputs'),
]
