# CMO with balanced softmax, one of the losses of the paper; half of the batches are mixed.
_base_ = './balanced_softmax_r32.py'
custom_imports = dict(imports=['ltmm.engine', 'ltmm.models.batch_augments'], allow_failed_imports=False)
model = dict(train_cfg=dict(augments=dict(type='ltmm.CMO'), probs=0.5))
