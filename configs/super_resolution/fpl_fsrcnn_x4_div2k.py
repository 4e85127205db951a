_base_ = [
    '../_base_/models/residual_sr_fsrcnn.py',
    '../_base_/datasets/div2k_x4.py',
    '../_base_/schedules/super_resolution_500e.py',
    '../_base_/sr_runtime.py',
]

model = dict(patch_size=32, patch_step=28)
