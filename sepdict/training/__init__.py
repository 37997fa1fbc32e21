"""From solo recordings to a dictionary: data, trainer, regularization, pretraining, checks, the learning curve."""
