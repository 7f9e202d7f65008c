"""How a model answers: `expkit predict` and the served model share this folder, which is stored beside each model.

MLflow imports the copy where expkit may not be installed, so nothing here imports expkit, except what stands beside it.
"""
