# Pre-training by MoCo v2 on the images of CIFAR100-LT; their labels are not used. The authors have no CIFAR recipe:
# projector, temperature, weight decay and cosine are theirs, queue, momentum and rate ours, for 84 iterations an epoch.
_base_ = ['./ce_r32.py', '../_base_/pipelines/cifar_moco.py']
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(
    type='ltmm.MomentumClassifier',
    momentum=0.99,
    head=dict(
        _delete_=True,
        type='ltmm.PretrainHead',
        loss=dict(type='ltmm.MomentumContrastLoss', in_channels=64, queue_size=4096),
    ),
)
train_dataloader = dict(drop_last=True, dataset=dict(dataset=dict(pipeline={{_base_.moco_pipeline}})))
optim_wrapper = dict(optimizer=dict(lr=0.06, weight_decay=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR')]
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
