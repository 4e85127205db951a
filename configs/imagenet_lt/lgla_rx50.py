_base_ = ['./sade_rx50.py', '../_base_/pipelines/weak_strong_224.py']
model = dict(
    backbone=dict(channels=(64, 128, 256, 512)),  # full width
    head=dict(in_channels=2048, loss=dict(_delete_=True, type='ltmm.LGLALoss')),
)
train_dataloader = dict(dataset=dict(pipeline={{_base_.strong_pipeline}}))
