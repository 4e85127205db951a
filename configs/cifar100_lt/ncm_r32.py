# Decoupling's nearest class mean on the features of ce_r32.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.PostProcessStage', step=dict(type='ltmm.NearestClassMean', transform='cl2n', similarity='l2')),
]
model = dict(head=dict(classifier=dict(type='ltmm.NearestMean', transform='cl2n', similarity='l2')))
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
