"""The heart, from a mixture to masks: excitations, the mask estimator, the background model, the engine."""
