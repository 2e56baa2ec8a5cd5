"""Exports a GGUF file to ONNX in the layout of transformers.js: 4 bits (q4) and 8 bits (q8).

usage: python onnx_export.py MODEL.gguf FOLDER
pip install torch transformers accelerate gguf onnxruntime-genai onnx onnx_ir onnxscript

q4 is what onnxruntime-genai's builder writes, with blocks of 32 weights and products with activations of 8 bits (accuracy level
4). Its embeddings stay in f32: onnxruntime-web has no lookup in 4 bits on the CPU. q8 is onnxruntime's dynamic quantisation of
the same graph in f32.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForCausalLM, AutoTokenizer

gguf, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
(out / "onnx").mkdir(parents=True, exist_ok=True)


def build(plain: Path, precision: str, *options: str) -> Path:
    """Runs onnxruntime-genai's builder and returns the graph that it wrote."""
    to = plain / precision
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", plain, "-o", to, "-p", precision, "-e", "cpu", "-c", plain / "cache"]
    subprocess.run([*command, *(["--extra_options", *options] if options else [])], check=True, stdout=subprocess.DEVNULL)
    return to / "model.onnx"


def keep(graph: Path, name: str, head: int) -> None:
    """Writes a graph and its weights as one file. transformers.js takes the width of the cache's heads from the graph."""
    loaded = onnx.load(graph)
    for value in [*loaded.graph.input, *loaded.graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "kv_cache_dim":
                dim.dim_value = head
    onnx.save_model(loaded, out / "onnx" / name)
    print(name, (out / "onnx" / name).stat().st_size)


with tempfile.TemporaryDirectory() as folder:
    plain = Path(folder)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The weights are decoded: the folder says nothing of GGUF.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    model.save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(plain / name, out / name)
    keep(build(plain, "int4", "int4_block_size=32", "int4_accuracy_level=4", "shared_embeddings=false"), "model_q4.onnx", model.config.head_dim)
    whole = build(plain, "fp32")
    quantize_dynamic(whole, plain / "q8.onnx", weight_type=QuantType.QUInt8)
    keep(plain / "q8.onnx", "model_quantized.onnx", model.config.head_dim)
