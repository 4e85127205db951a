_base_ = './ce_r32.py'
train_cfg = dict(proximal=0.01)
