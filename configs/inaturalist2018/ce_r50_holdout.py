# ce_r50 without up to 3 images a class, at most half of its own, to choose strengths by: the validation set of
# iNaturalist 2018 is what everyone tests on.
_base_ = './ce_r50.py'
train_dataloader = dict(
    dataset=dict(_delete_=True, type='ltmm.Holdout', part='train', per_class=3, dataset=_base_.train_dataloader.dataset)
)
