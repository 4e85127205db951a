# ADELLO by the authors' recipe (github.com/emasa/ADELLO-LTSSL @b5f6013): 262,000 iterations of 64 labeled and 128
# unlabeled images.
_base_ = './fixmatch_wrn28-2.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.ADELLOLoss')))
train_dataloader = dict(batch_size=192, sampler=dict(ratio=(1, 2), length=500 * 192))
train_cfg = dict(max_epochs=524)
auto_scale_lr = dict(base_batch_size=192)
