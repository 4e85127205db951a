_base_ = './sade_tta_r152.py'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.ShiftedTestSet',
        imbalance_factor=50,
        direction='backward',
        train_dataset=dict(type='ltmm.PlacesLT', split='train'),
        dataset={{_base_.test_dataloader.dataset}},
    )
)
