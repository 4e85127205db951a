_base_ = './prior_ce_r32.py'
train_cfg = dict(prior='proxy')
