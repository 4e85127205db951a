"""Long-tailed tasks that are not classification or detection, each whole in one folder."""
