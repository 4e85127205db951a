# CUDA with balanced softmax, one of the losses of the paper.
_base_ = './balanced_softmax_r32.py'
train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ltmm.CurriculumAugment'),
    dict(type='ltmm.Cutout', size=16),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.CurriculumHook')]
