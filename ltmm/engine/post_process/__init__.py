from .post_processor import post_process

__all__ = ['post_process']
