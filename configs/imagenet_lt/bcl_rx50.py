# BCL, "sim-sim": both contrasted views are SimCLR's (Zhu et al., CVPR 2022).
_base_ = ['./ce_rx50.py', '../_base_/pipelines/bcl_224.py']
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(
    head=dict(
        classifier=dict(type='ltmm.NormedLinear', scale=30),
        loss=dict(_delete_=True, type='ltmm.BalancedSoftmaxLoss'),
        cls_views=1,
        aux_losses=[dict(type='ltmm.BalancedContrastiveLoss', in_channels=2048, weight=0.35)],
    )
)
train_dataloader = dict(batch_size=32, dataset=dict(pipeline={{_base_.sim_sim_pipeline}}))  # x 8 GPUs
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = dict(_delete_=True, type='ltmm.ShiftedCosineLR')
auto_scale_lr = dict(base_batch_size=256)
