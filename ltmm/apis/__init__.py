"""Use of a trained model: predictions, a web page, export."""
