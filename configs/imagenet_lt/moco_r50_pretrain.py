# Pre-training by MoCo v2 on the images of ImageNet-LT, 8 GPUs x 32; their labels are not used. The authors of SSP train
# on batches of 128 at half the rate.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/pipelines/two_views_224.py',
    '../_base_/models/moco_r50.py',
    '../_base_/schedules/moco_200e.py',
    '../_base_/default_runtime.py',
]
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
train_dataloader = dict(batch_size=32, drop_last=True, dataset=dict(pipeline={{_base_.large_view_pipeline}}))
val_dataloader = val_evaluator = None
test_dataloader = test_evaluator = None
