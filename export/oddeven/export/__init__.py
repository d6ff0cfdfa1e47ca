"""Export: Keras models into quantized TFLite and ONNX files that describe themselves."""
