# LiVT in two steps: tools/train_stages.py with this config.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/pipelines/livt_224.py',
    '../_base_/models/vit-base-p16_livt.py',
    '../_base_/schedules/livt_100e.py',
    '../_base_/default_runtime.py',
]
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/livt_vit-base-p16_mae.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.LoadPartsHook', prefixes=['backbone'])]
data_preprocessor = dict(mean=[122.316, 116.717, 103.969], std=[71.139, 69.157, 72.946])  # of ImageNet-LT
model = dict(head=dict(num_classes=1000))
train_dataloader = dict(batch_size=128, dataset=dict(pipeline={{_base_.livt_pipeline}}))  # x 8 GPUs
val_dataloader = dict(dataset=dict(pipeline={{_base_.livt_test_pipeline}}))
test_dataloader = dict(dataset=dict(pipeline={{_base_.livt_test_pipeline}}))
