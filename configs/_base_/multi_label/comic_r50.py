# COMIC (Zhang et al., ICCV 2023).
_base_ = [
    '../pipelines/comic_224.py',
    '../models/comic_resnet50.py',
    '../default_runtime.py',
    '../schedules/comic_40e.py',
]
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False)]
default_hooks = dict(checkpoint=dict(save_best='multi_label/mAP', rule='greater'))
