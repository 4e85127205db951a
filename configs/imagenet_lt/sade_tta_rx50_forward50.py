_base_ = './sade_tta_rx50.py'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.ShiftedTestSet',
        imbalance_factor=50,
        direction='forward',
        train_dataset=dict(type='ltmm.ImageNetLT', split='train'),
        dataset={{_base_.test_dataloader.dataset}},
    )
)
