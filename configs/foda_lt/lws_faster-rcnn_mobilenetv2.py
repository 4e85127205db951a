# LWS, after the softmax: a learnable scale per class, classes in turn. Run tools/train_stages.py with this config
_base_ = './softmax_faster-rcnn_mobilenetv2.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/softmax_faster-rcnn_mobilenetv2.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(roi_head=dict(bbox_head=dict(cls_predictor_cfg=dict(type='ltmm.ScaledLinear'))))
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', keep=['roi_head.bbox_head.fc_cls.scale'])]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler', num_samples_per_class=1))
