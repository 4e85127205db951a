# Step 1 of LiVT on Places-LT.
_base_ = '../imagenet_lt/livt_vit-base-p16_mae.py'
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
train_dataloader = dict(dataset=dict(type='ltmm.PlacesLT'))
