# Test a model of oltr_r32.py on an open set: the images of CIFAR-10 belong to no class of CIFAR-100.
_base_ = './oltr_r32.py'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.OpenSet',
        dataset={{_base_.test_dataloader.dataset}},
        unknown=dict(type='ltmm.CIFAR10', split='test', pipeline=[dict(type='PackInputs')], test_mode=True),
    )
)
test_evaluator = dict(_delete_=True, type='ltmm.OpenSetMetric')
