# EFL: ATSS, repeat factor sampling, 2x, boxes; ATSS is mmdet's, with one anchor and a centerness branch
_base_ = './eqlv2_atss_r50.py'

model = dict(bbox_head=dict(loss_cls=dict(type='ltmm.EqualizedFocalLoss')))
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.RepeatFactorSampler', threshold=1e-3))

optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=dict(max_norm=35))
warmup = dict(type='LinearLR', start_factor=0.001, by_epoch=True, begin=0, end=1, convert_to_iter_based=True)
param_scheduler = [warmup, dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[16, 22])]
train_cfg = dict(max_epochs=24, val_interval=24)
