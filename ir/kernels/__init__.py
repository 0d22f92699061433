"""How the host computes what operators declare: NumPy code, one file per method, that knows arrays and no graphs."""
