# Decoupling's tau-normalisation of ce_r32. Tau is the best on 20 images a class of CIFAR-100's training split that
# CIFAR100-LT leaves out (class 0 has none).
_base_ = './ce_r32.py'
stages = ['{{ fileDirname }}/ce_r32.py']
post_process = dict(step=dict(type='ltmm.TauNorm'), search=dict(grid=(0, 2, 21)))
train_dataloader = train_cfg = optim_wrapper = param_scheduler = None  # nothing is trained
