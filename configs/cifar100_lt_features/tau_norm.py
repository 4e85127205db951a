# Tau-normalisation of ce.py; tau by 20 images a class that CIFAR100-LT leaves out.
_base_ = './ce.py'
stages = ['{{ fileDirname }}/ce.py']
post_process = dict(step=dict(type='ltmm.TauNorm'), search=dict(grid=(0, 2, 21)))
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
