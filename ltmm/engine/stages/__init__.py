from .stages import Stage, first_to_run, link_result, read_stages, run_stages

__all__ = ['Stage', 'first_to_run', 'link_result', 'read_stages', 'run_stages']
