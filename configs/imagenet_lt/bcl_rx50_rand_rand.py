# BCL, "rand-rand": RandAugment behind the distortions of both contrasted views.
_base_ = './bcl_rx50.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.rand_rand_pipeline}}))
