"""From a mixture to stems: `engine` has the steps, `segment` those of one segment, `excitations` the fit."""
