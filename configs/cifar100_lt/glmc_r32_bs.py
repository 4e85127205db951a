# GLMC with balanced softmax in place of weights for the classifier that predicts. The authors' code has no such option.
_base_ = './glmc_r32.py'
model = dict(head=dict(loss=dict(power=0.0, tau=1.0)))
