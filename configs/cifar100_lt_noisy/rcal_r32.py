# RCAL, from a backbone pre-trained by MoCo v2 on the same images. Unverified against the authors, who have published no
# code: the constants are ours. Other rates of noise: --cfg-options stage2.train_dataloader.dataset.rate=0.2
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/../cifar100_lt/moco_r32_pretrain.py'),
    dict(type='ltmm.TrainStage'),
]
custom_imports = dict(imports=['ltmm.engine', 'ltmm.models.batch_augments'], allow_failed_imports=False)
model = dict(
    head=dict(cls_views=1, aux_losses=[dict(type='ltmm.RCALLoss', in_channels=64)]),
    train_cfg=dict(augments=dict(type='ltmm.MixupWithOriginals')),
)
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.CleanSelectionHook')]
