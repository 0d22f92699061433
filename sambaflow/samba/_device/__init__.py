"""A PEF on the simulated RDU, bound to a program's model, optimizers and tensors."""
