# ce_r50 with up to 3 training images per class (at most half of them) held out to search tau on, as iNaturalist 2018 is
# tested on its validation set.
_base_ = './ce_r50.py'
train_dataloader = dict(
    dataset=dict(_delete_=True, type='ltmm.Holdout', part='train', per_class=3, dataset=_base_.train_dataloader.dataset)
)
