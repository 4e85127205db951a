# Temperature scaling of ce_r32, fitted on the images that tau_norm_r32 searches on.
_base_ = './tau_norm_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.PostProcessStage', step=dict(type='ltmm.TemperatureScaling'), search=dict(grid=(0.5, 4, 36))),
]
