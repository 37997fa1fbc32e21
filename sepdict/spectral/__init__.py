"""Sound as it is analyzed: the short-time Fourier transform, bands, divergences, masks, pooling over time."""
