# Test the uncertainty of a model of tlc_r32.py on images of unknown classes too, those of CIFAR-10.
_base_ = './tlc_r32.py'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.OpenSet',
        dataset={{_base_.test_dataloader.dataset}},
        unknown=dict(type='ltmm.CIFAR10', split='test', pipeline=[dict(type='PackInputs')], test_mode=True),
    )
)
test_evaluator = [dict(type='ltmm.OpenSetMetric'), dict(type='ltmm.UncertaintyMetric')]
