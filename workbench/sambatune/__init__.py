"""The report files of SambaTune, from one simulated run."""
