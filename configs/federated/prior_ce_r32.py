_base_ = './ce_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.BalancedSoftmaxLoss')))
train_cfg = dict(prior='local')
