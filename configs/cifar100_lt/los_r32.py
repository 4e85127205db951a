# Label over-smoothing (ICLR 2025, github.com/bilibili/LOS @50652c0): the classifier of ce_r32_wd5e-3, trained on with
# labels smoothed by 0.98. The probabilities are nearly uniform: calibrate them afterwards. The authors train a
# ResNet-34.
_base_ = './ce_r32_wd5e-3.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32_wd5e-3.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=False),  # updates statistics, as the authors do
]
model = dict(head=dict(loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=0.98)))
optim_wrapper = dict(optimizer=dict(lr=5e-4, weight_decay=0.0))
train_cfg = dict(max_epochs=20)
