_base_ = './softmax_faster-rcnn_r50.py'

train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.RepeatFactorSampler', threshold=0.05))
