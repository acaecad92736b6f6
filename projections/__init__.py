"""Pure folds, the stores that keep their rows, and the views that read them."""
