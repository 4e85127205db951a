# GML of gml_r32, which predicts the mean of the new and the old classifier at two temperatures.
_base_ = './gml_r32.py'
model = dict(head=dict(classifier=dict(type='ltmm.ClassifierEnsemble')))
custom_hooks = [
    *_base_.custom_hooks[:-2],
    dict(type='ltmm.LoadPartsHook', prefixes=['backbone'], rename={'head.fc': 'head.fc.old'}),
    dict(type='ltmm.FreezeHook', prefixes=['backbone', 'head.fc.old'], norm_eval=True),
]
