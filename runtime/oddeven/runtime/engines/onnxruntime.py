"""onnxruntime on the CPU."""

from __future__ import annotations

from typing import Any

import onnxruntime

from oddeven.runtime.arrays import Array
from oddeven.runtime.engines.contract import Engine, PackageEngine, outputs
from oddeven.runtime.engines.metadata import ONNX_KEY, ModelFile
from oddeven.runtime.engines.quantization import TensorInfo
from oddeven.runtime.engines.saturation import overflows
from oddeven.runtime.schema import from_json
from oddeven.runtime.spec import ModelSpec

ERRORS_ONLY = 3
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"  # for weights in files beside the model's own
# On an x86 CPU without VNNI onnxruntime then turns int8 weights to uint8, whose products it adds in 32 bits.
EXACT = ("session.x64quantprecision", "1")
DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}


class OnnxEngine(PackageEngine):
    """One inference session; its inputs and outputs are real values even where the inside is quantized."""

    def __init__(self, session: Any, model: ModelFile) -> None:
        super().__init__(session, model)
        (source,), sinks = session.get_inputs(), session.get_outputs()
        self.input = _info(source)
        self.output, self.familiarity = outputs([_info(sink) for sink in sinks])
        self._names = [sink.name for sink in sinks]
        told = session.get_modelmeta()
        text = told.custom_metadata_map.get(ONNX_KEY)
        self.spec = None if text is None else from_json(ModelSpec, text, f"{model.path}: metadata {ONNX_KEY!r}")
        standard = {key: value for key, value in told.custom_metadata_map.items() if not key.startswith(ONNX_KEY)}
        named = {"producer_name": told.producer_name, "doc_string": told.description, "model_version": told.version}
        self.metadata = {**named, **standard}

    def _compute(self, session: Any, batch: Array) -> tuple[Array, ...]:
        return tuple(session.run(self._names, {self.input.name: batch}))


def open_model(model: ModelFile, threads: int) -> Engine:
    """Open an `.onnx` file.

    Raises:
        ModelError: the file is damaged.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry(WEIGHTS_FOLDER, str(model.path.absolute().parent))
    if overflows(model.path, model.content):
        options.add_session_config_entry(*EXACT)
    # The fallback would print to stdout, and try the same once more.
    provider = {"providers": ["CPUExecutionProvider"], "enable_fallback": 0}
    return OnnxEngine(onnxruntime.InferenceSession(model.content, options, **provider), model)


def _info(node: Any) -> TensorInfo:
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    return TensorInfo(name=node.name, shape=shape, dtype=DTYPES.get(node.type, node.type))
