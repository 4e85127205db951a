# Step 1 of LiVT on iNaturalist 2018, at 128 px.
_base_ = '../imagenet_lt/livt_vit-base-p16_mae.py'
data_preprocessor = dict(mean=[118.83, 120.105, 96.9], std=[49.725, 49.47, 48.96])
model = dict(backbone=dict(img_size=128), neck=dict(num_patches=64))
load, crop, *others = _base_.mae_pipeline
train_dataloader = dict(dataset=dict(type='ltmm.INaturalist2018', pipeline=[load, dict(crop, scale=128), *others]))
