# The authors' recipe (github.com/KaihuaTang/Long-Tailed-Recognition.pytorch @5c916d0): ResNet-32 with the two last
# blocks of BBN, batch size 256. Their schedule is stepped before each epoch, so the rate drops one epoch early.
_base_ = './causal_tde_r32.py'
model = dict(backbone=dict(type='ltmm.TwoBranchResNetCIFAR'), head=dict(in_channels=128))
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=7 / 15, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[119, 159], gamma=0.01),
]
auto_scale_lr = dict(base_batch_size=256)
