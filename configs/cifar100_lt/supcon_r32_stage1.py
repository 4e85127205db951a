# SupCon, pre-training of supcon_r32, by the recipe of SBCL (github.com/JackHck/SBCL @3b9047a). Its warm-up starts with
# negative rates: as_published=True of the schedule.
_base_ = ['./ce_r32.py', '../_base_/pipelines/cifar_simclr.py']
data_preprocessor = dict(type='ltmm.MultiViewDataPreprocessor')
model = dict(head=dict(_delete_=True, type='ltmm.PretrainHead', loss=dict(type='ltmm.SupConLoss', in_channels=64)))
train_dataloader = dict(batch_size=1024, dataset=dict(dataset=dict(pipeline={{_base_.simclr_pipeline}})))
optim_wrapper = dict(optimizer=dict(lr=0.5, weight_decay=1e-4))
param_scheduler = [dict(type='ltmm.WarmupToCosineLR', convert_to_iter_based=True)]
train_cfg = dict(max_epochs=1000)
auto_scale_lr = dict(base_batch_size=1024)
val_cfg = val_dataloader = val_evaluator = None
