# BCL, "sim-rand": RandAugment behind the distortions of one of the two contrasted views.
_base_ = './bcl_rx50.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.sim_rand_pipeline}}))
