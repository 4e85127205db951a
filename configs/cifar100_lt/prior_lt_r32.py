# UniMix and Bayias loss. Mixing runs to the end here; the authors stop it at an epoch `mix_stop`, set by `end`.
_base_ = './ce_r32.py'
custom_imports = dict(imports=['ltmm.engine', 'ltmm.models.batch_augments'], allow_failed_imports=False)
model = dict(
    head=dict(loss=dict(_delete_=True, type='ltmm.BayiasLoss')),
    train_cfg=dict(augments=dict(type='ltmm.UniMix')),
)
