# Decoupling's tau-normalization of ce_r32. Tau is searched on 20 training images per class that
# CIFAR100-LT leaves out (none of class 0).
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.PostProcessStage', step=dict(type='ltmm.TauNorm'), search=dict(grid=(0, 2, 21))),
]
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
