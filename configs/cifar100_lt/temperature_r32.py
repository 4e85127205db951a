# Temperature scaling of ce_r32, fitted on the images that tau_norm_r32 searches on.
_base_ = './tau_norm_r32.py'
post_process = dict(step=dict(type='ltmm.TemperatureScaling'), search=dict(grid=(0.5, 4, 36)))
