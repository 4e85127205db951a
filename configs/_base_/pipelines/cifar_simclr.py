# Two views of each image as SimCLR, SupCon and SBCL draw them on CIFAR-LT: those of MoCo v2, flipped earlier.
_base_ = './cifar_moco.py'
simclr_view = [
    {{_base_.crop}},
    {{_base_.flip}},
    dict(type='RandomApply', transforms={{_base_.jitter}}, prob=0.8),
    {{_base_.gray}},
]
simclr_pipeline = [dict(type='MultiView', num_views=[2], transforms=[simclr_view]), dict(type='PackInputs')]
