# Tau-normalization of ce.py; tau is searched on 20 images per class that CIFAR100-LT leaves out.
_base_ = './ce.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce.py'),
    dict(type='ltmm.PostProcessStage', step=dict(type='ltmm.TauNorm'), search=dict(grid=(0, 2, 21))),
]
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
