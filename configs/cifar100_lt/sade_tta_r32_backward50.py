_base_ = './sade_tta_r32.py'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.ShiftedTestSet',
        imbalance_factor=50,
        direction='backward',
        dataset={{_base_.test_dataloader.dataset}},
    )
)
