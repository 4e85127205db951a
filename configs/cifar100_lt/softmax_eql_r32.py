_base_ = './ce_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.SoftmaxEQLLoss', lambda_=0.005)))  # 52 classes are tail
