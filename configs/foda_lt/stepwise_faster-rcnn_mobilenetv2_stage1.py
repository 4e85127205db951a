# Step-wise learning, stage 1, the expert of head classes: only classifier and lateral convolutions, one epoch
_base_ = './softmax_faster-rcnn_mobilenetv2.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/softmax_faster-rcnn_mobilenetv2.py'),
    dict(type='ltmm.ExemplarMiningStage', score_thr=0.5, max_per_class=500),
    dict(type='ltmm.TrainStage'),
]
threshold = 0.12  # that of LVIS times 1203 / 31 classes
repeat = dict(threshold=threshold, power=(0.5, 0.5, 0.3, 0), group_bounds=(10, 30, 100), rounding='ceil')
train_dataloader = dict(
    dataset=dict(
        type='ltmm.SmoothTailDataset',
        exemplar_file='stage://exemplar_mining',
        exemplars_per_class=(None, 100, 200, 200),  # for classes with up to 10, 30, 100 and more images
    ),
    sampler=dict(_delete_=True, type='ltmm.RepeatFactorSampler', **repeat),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.FreezeHook', keep=['roi_head.bbox_head.fc_cls', 'neck.lateral_convs']),
]
optim_wrapper = dict(optimizer=dict(lr=0.002))
param_scheduler = []
train_cfg = dict(max_epochs=1, val_interval=1)
