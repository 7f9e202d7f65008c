"""The commands beside a run, one file each."""
