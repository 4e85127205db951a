# LiVT in two steps: tools/train_stages.py with this config.
_base_ = '../imagenet_lt/livt_vit-base-p16.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/livt_vit-base-p16_mae.py'),
    dict(type='ltmm.TrainStage'),
]
data_preprocessor = dict(num_classes=365, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
model = dict(head=dict(num_classes=365, loss=dict(tau=1.05)))
train_dataloader = dict(dataset=dict(type='ltmm.PlacesLT'))
val_dataloader = dict(dataset=dict(type='ltmm.PlacesLT'))
test_dataloader = dict(dataset=dict(type='ltmm.PlacesLT'))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
train_cfg = dict(max_epochs=30)
