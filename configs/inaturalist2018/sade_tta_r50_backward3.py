_base_ = './sade_tta_r50.py'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.ShiftedTestSet',
        imbalance_factor=3,
        direction='backward',
        train_dataset=dict(type='ltmm.INaturalist2018', split='train'),
        dataset={{_base_.test_dataloader.dataset}},
    )
)
