_base_ = [
    '../_base_/models/residual_sr_fsrcnn.py',
    '../_base_/datasets/sample_photos_x4.py',
    '../_base_/schedules/super_resolution_10e.py',
    '../_base_/sr_runtime.py',
]

model = dict(backbone=dict(init_scale=1.0))  # the authors' 0.1 learns nothing in so few iterations
