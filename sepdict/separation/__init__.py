"""From a mixture to stems: `engine` has the steps, `excitations` the fit, `mask_estimator` the guide masks."""
