# 500,000 iterations of 64 crops, with DIV2K's 1,000 iterations per epoch.
_base_ = './super_resolution_10e.py'

train_cfg = dict(max_epochs=500, val_interval=10)
