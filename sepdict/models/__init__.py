"""Networks: layers, autoencoders by kind, the mask network, optimizers."""
