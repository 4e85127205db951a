# Label over-smoothing: the classifier of ce.py, trained on with labels smoothed by 0.98. The learning rate is from a
# split of the training set.
_base_ = './ce.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(head=dict(loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=0.98)))
optim_wrapper = dict(optimizer=dict(lr=1e-5, weight_decay=0.0))
