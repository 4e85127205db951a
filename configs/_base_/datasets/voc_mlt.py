# VOC-MLT: 1,142 training images of VOC 2012 with 20 classes (775 to 4 per class, 2.05 per image); tested on VOC 2007.
_base_ = './coco_mlt.py'
data_preprocessor = dict(num_classes=20)
train_dataloader = dict(dataset=dict(dataset=dict(type='ltmm.VOCMLT')))
val_dataloader = dict(dataset=dict(type='ltmm.VOCMLT'))
test_dataloader = dict(dataset=dict(type='ltmm.VOCMLT'))
