# LiVT in two steps: tools/train_stages.py with this config.
_base_ = '../imagenet_lt/livt_vit-base-p16.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/livt_vit-base-p16_mae.py'),
    dict(type='ltmm.TrainStage'),
]
data_preprocessor = dict(num_classes=8142, mean=[118.83, 120.105, 96.9], std=[49.725, 49.47, 48.96])
model = dict(head=dict(num_classes=8142, loss=dict(smoothing=0.0)))
train_dataloader = dict(dataset=dict(type='ltmm.INaturalist2018'))
val_dataloader = dict(dataset=dict(type='ltmm.INaturalist2018'))
test_dataloader = dict(dataset=dict(type='ltmm.INaturalist2018', split='val'))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
