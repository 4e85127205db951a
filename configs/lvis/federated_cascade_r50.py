# Cascade Mask R-CNN, 1x, repeat factor sampling; each stage draws its own classes
_base_ = './eqlv2_cascade_r50.py'

model = dict(
    roi_head=dict(
        bbox_head=[dict(head, loss_cls=dict(type='ltmm.FederatedLoss')) for head in _base_.model.roi_head.bbox_head]
    )
)
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.RepeatFactorSampler', threshold=1e-3))
