# The first stage of OLTR: cross entropy on features of width 512 (Liu et al., CVPR 2019).
_base_ = './ce_r152.py'
model = dict(
    neck=dict(
        _delete_=True,
        type='LinearNeck',
        in_channels=2048,
        out_channels=512,
        gap_dim=2,
        norm_cfg=None,
        act_cfg=dict(type='ReLU'),
    ),
    head=dict(in_channels=512),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(neck=dict(lr_mult=0.01))))
