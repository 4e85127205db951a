_base_ = './class_balanced_r32.py'
model = dict(head=dict(loss=dict(loss_type='sigmoid', beta=0.9999, gamma=None)))
