_base_ = './ce_r32.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.SigmoidFocalLoss', gamma=2.0)))
test_evaluator = [_base_.val_evaluator]  # no calibration error: one sigmoid per class
