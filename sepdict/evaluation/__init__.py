"""Measures: metrics of stems, scores of whole separations, how well dictionaries can be told apart."""
