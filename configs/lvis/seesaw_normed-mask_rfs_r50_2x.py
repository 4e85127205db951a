# Cosine classifiers for masks too, repeat factor sampling
_base_ = './seesaw_r50_2x.py'

model = dict(roi_head=dict(mask_head=dict(predictor_cfg=dict(type='NormedConv2d'))))
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.RepeatFactorSampler', threshold=1e-3))
