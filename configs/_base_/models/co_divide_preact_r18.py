# Two pre-activation ResNet-18, 11.2 M parameters each, that learn from what the other one holds to be clean.
model = dict(
    type='ltmm.CoDivideClassifier',
    backbone=dict(type='ltmm.PreActResNetCIFAR'),
    head=dict(
        type='ltmm.MultiExpertClsHead',
        num_experts=2,
        in_channels=512,
        loss=dict(type='ltmm.PerExpertLoss', loss=dict(type='CrossEntropyLoss')),
        init_cfg=None,  # PyTorch's
    ),
)
find_unused_parameters = True  # the network whose turn it is not
