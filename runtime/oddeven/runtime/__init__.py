"""The runtime: two-class image answers on any engine, with NumPy, Pillow and no TensorFlow."""
