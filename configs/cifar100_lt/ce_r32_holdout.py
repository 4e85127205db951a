# Cross entropy on 80 % of the images of each class; the others are validation data with the class mix of the training.
_base_ = './ce_r32.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True, type='ltmm.Holdout', part='train', per_class=0.2, dataset={{_base_.train_dataloader.dataset}}
    )
)
