_base_ = './ce_r32.py'
custom_imports = dict(imports=['ltmm.engine', 'ltmm.models.batch_augments'], allow_failed_imports=False)
model = dict(train_cfg=dict(augments=dict(type='ltmm.Remix')))
