"""Where numbers first go wrong: operators beside PyTorch, passes, sections, stages, tiles."""
