"""The command `snrun`."""
