# NCL with its contrastive part: each network tells an image from 1,024 others by a momentum copy.
_base_ = './ncl_r32.py'
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(
    type='ltmm.MomentumClassifier',
    momentum=0.999**3,  # of the authors' 0.999, which is applied once per network
    keys_first=True,
    head=dict(
        aux_losses=[
            dict(
                type='ltmm.MomentumContrastLoss',
                in_channels=64,
                num_experts=3,
                feat_dim=64,
                queue_size=1024,
                keys_follow=False,
            )
        ]
    ),
)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline={{_base_.query_key_pipeline}})))
