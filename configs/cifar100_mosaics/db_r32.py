_base_ = './r_bce_r32.py'
model = dict(head=dict(loss=dict(neg_scale=2.0, init_bias=0.05, focal_gamma=2.0, balance=2.0)))
