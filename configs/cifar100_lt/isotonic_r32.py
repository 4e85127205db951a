# Isotonic calibration of ce_r32, fitted on the images that tau_norm_r32 searches on.
_base_ = './ce_r32.py'
step = dict(type='ltmm.IsotonicCalibration')
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.PostProcessStage', step=step),
]
model = dict(head=dict(_delete_=True, type='ltmm.CorrectedHead', head={{_base_.model.head}}, correction=step))
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
