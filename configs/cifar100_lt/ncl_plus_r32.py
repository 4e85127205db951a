# NCL++: two whole networks, four views of each image.
_base_ = './ncl_r32.py'
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(
    backbone=dict(num_experts=2),
    head=dict(num_experts=2, loss=dict(_delete_=True, type='ltmm.NCLPlusLoss', num_hard=30)),
)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline={{_base_.four_view_pipeline}})))
