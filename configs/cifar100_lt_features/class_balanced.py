_base_ = './ce.py'
loss = dict(_delete_=True, type='ltmm.ClassBalancedLoss', loss_type='focal', beta=0.9, gamma=1.0)
model = dict(head=dict(loss=loss, init_cfg=dict(type='Normal', layer='Linear', std=0.01, bias=-4.595)))
