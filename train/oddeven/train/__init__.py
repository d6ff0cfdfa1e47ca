"""Training: datasets, architectures, recipes, fitting and plots. TensorFlow lives here."""
