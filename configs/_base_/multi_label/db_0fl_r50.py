# mu and neg_scale depend on the data set.
_base_ = './r_bce_r50.py'
model = dict(head=dict(loss=dict(init_bias=0.05)))
