"""Passes tried one by one on the text of a program."""
