# Nearest class mean of the features.
_base_ = './ce.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce.py'),
    dict(type='ltmm.PostProcessStage', step=dict(type='ltmm.NearestClassMean', transform='cl2n', similarity='l2')),
]
model = dict(head=dict(classifier=dict(type='ltmm.NearestMean', transform='cl2n', similarity='l2')))
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
