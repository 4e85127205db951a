# Pre-training of SSP by rotations on the images of CIFAR100-LT; their labels are not used. The schedule is that of the
# training after it (github.com/YyzHarry/imbalanced-semi-self @b91ad29).
_base_ = './ce_r32.py'
data_preprocessor = dict(type='ClsDataPreprocessor')
model = dict(
    type='ltmm.RotationPretrainer',
    head=dict(_delete_=True, type='LinearClsHead', num_classes=4, in_channels=64, cal_acc=True),
)
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
