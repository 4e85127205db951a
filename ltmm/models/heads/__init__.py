from .long_tail_cls_head import LongTailClsHead

__all__ = ['LongTailClsHead']
