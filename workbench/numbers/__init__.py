"""What programs compute: values to run them on, runs of all their graphs, and how far results are apart."""
