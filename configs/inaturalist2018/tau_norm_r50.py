# Tau-normalization of ce_r50_holdout; Kang et al., ICLR 2020, search tau on the test images.
_base_ = './ce_r50_holdout.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r50_holdout.py'),
    dict(
        type='ltmm.PostProcessStage', step=dict(type='ltmm.TauNorm'), search=dict(grid=(0, 2, 21), val_split='holdout')
    ),
]
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
