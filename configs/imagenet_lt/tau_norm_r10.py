# Tau-normalization of ce_r10, tau searched on the validation set (Kang et al., ICLR 2020).
_base_ = './ce_r10.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r10.py'),
    dict(type='ltmm.PostProcessStage', step=dict(type='ltmm.TauNorm'), search=dict(grid=(0, 2, 21), val_split='val')),
]
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
