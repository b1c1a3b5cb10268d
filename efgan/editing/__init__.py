"""Uses trained models: edit faces from Python, the command line and the notebooks."""
