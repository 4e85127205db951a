# DIV2K: crops of 128 pixels, 64 per batch.
_base_ = './sample_photos_x4.py'

_dataset = dict(_delete_=True, type='ltmm.DIV2K', split='train', scale=4, patch_size=32, crops_per_image=80)
train_dataloader = dict(batch_size=64, num_workers=8, persistent_workers=False, dataset=_dataset)
val_dataloader = dict(num_workers=2, dataset=dict(_delete_=True, type='ltmm.DIV2K', split='valid', scale=4))
test_dataloader = val_dataloader
