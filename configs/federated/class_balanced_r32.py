_base_ = './ce_r32.py'
loss = dict(_delete_=True, type='ltmm.ClassBalancedLoss', loss_type='focal', beta=0.99, gamma=0.8)
model = dict(head=dict(loss=loss))
train_cfg = dict(prior='local')
