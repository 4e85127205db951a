_base_ = './r_bce_r50.py'
model = dict(head=dict(loss=dict(focal_gamma=2.0, balance=2.0)))
