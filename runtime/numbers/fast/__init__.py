"""The fast executor: sections as flat lists of calls on views."""
