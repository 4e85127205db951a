# Places-LT: 62,500 training images of 365 scenes (4,980 to 5 per class), validation 20, test 100 per class.
_base_ = './imagenet_lt.py'
data_preprocessor = dict(num_classes=365)
train_dataloader = dict(dataset=dict(type='ltmm.PlacesLT'))
val_dataloader = dict(dataset=dict(type='ltmm.PlacesLT'))
test_dataloader = dict(dataset=dict(type='ltmm.PlacesLT'))
