"""The version of the whole project: of its distribution, both commands, and the header of every PEF."""

VERSION = "0.1.0"
