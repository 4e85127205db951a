_base_ = './ce_r8.py'
train_dataloader = dict(dataset=dict(imbalance_factor=50))
