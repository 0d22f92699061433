"""`snc report`: a compiled model as one page that needs nothing else."""
