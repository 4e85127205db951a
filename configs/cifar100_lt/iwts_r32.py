# Head-to-tail calibration of ce_r32_holdout, fitted on the long-tailed images that it holds out.
_base_ = './ce_r32_holdout.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32_holdout.py'),
    dict(
        type='ltmm.PostProcessStage',
        step=dict(type='ltmm.ImportanceWeightedTemperatureScaling'),
        search=dict(val_split='holdout'),
    ),
]
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
