_base_ = './r_bce_r50.py'
model = dict(head=dict(loss=dict(neg_scale=5.0, init_bias=0.05)))
