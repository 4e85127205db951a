_base_ = ['./sade_r152.py', '../_base_/pipelines/weak_strong_224.py']
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.MDCSLoss')))
train_dataloader = dict(batch_size=8, dataset=dict(pipeline={{_base_.weak_strong_pipeline}}))  # x 8 GPUs
auto_scale_lr = dict(base_batch_size=64)
