_base_ = [
    '../_base_/models/residual_sr_fsrcnn.py',
    '../_base_/datasets/sample_photos_x4.py',
    '../_base_/schedules/super_resolution_12e.py',
    '../_base_/sr_runtime.py',
]
