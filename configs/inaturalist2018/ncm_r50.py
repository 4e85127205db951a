# Nearest class mean on the features of ce_r50 (Kang et al., ICLR 2020).
_base_ = './ce_r50.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r50.py'),
    dict(type='ltmm.PostProcessStage', step=dict(type='ltmm.NearestClassMean', transform='cl2n', similarity='l2')),
]
model = dict(head=dict(classifier=dict(type='ltmm.NearestMean', transform='cl2n', similarity='l2')))
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
