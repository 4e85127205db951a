# Binary cross entropy, one sigmoid per class, weighted by the inverse frequency from the start.
_base_ = './inverse_r32.py'
model = dict(head=dict(loss=dict(loss=dict(type='ltmm.SigmoidFocalLoss', gamma=0.0), normalize='batch_size')))
test_evaluator = [_base_.val_evaluator]  # no calibration error: one sigmoid per class
