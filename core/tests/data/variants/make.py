"""Writes the folders beside this file: small random models, and what transformers 5.24 computes of each in float64."""

import copy
import json
import pathlib

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
ENCODER = dict(vocab_size=24, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
OLMO = dict(
    vocab_size=24, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
    pad_token_id=0, eos_token_id=2, layer_types=["linear_attention", "full_attention"], linear_key_head_dim=4,
    linear_value_head_dim=8,
    rope_parameters={"rope_type": "default", "rope_theta": 100.0},
)

GEMMA = dict(
    vocab_size=24, hidden_size=8, num_hidden_layers=2, num_attention_heads=1, num_key_value_heads=1, intermediate_size=16,
    head_dim=8, global_head_dim=512, hidden_size_per_layer_input=0, sliding_window=6, use_bidirectional_attention="all",
    layer_types=["sliding_attention", "full_attention"], pad_token_id=0, eos_token_id=2, bos_token_id=2,
)


def make(name, kind, keys, tokens, change=lambda config: None):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **keys)
    masked = type(config) in transformers.models.auto.modeling_auto.MODEL_FOR_MASKED_LM_MAPPING
    of = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    model = of.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(noise * parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else parameter + 0.1 * noise)
            parameter.copy_(parameter.bfloat16())
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    # Frequencies of rotations stay as they are.
    copy.deepcopy(model).bfloat16().save_pretrained(folder)
    ids = torch.randint(2, config.vocab_size, (1, tokens))
    ids[0, 1] = 1
    with torch.no_grad():
        logits = model.double()(input_ids=ids).logits
    save_file(
        {"input_ids": ids.numpy().astype(np.int32), "want.logits": logits.float().numpy()},
        folder / "golden.safetensors",
    )
    path = folder / "config.json"
    written = json.loads(path.read_text())
    change(written)
    path.write_text(json.dumps(written))


def older(config):
    """The keys of files of Nomic's own code, with some that all of them have."""
    names = dict(
        hidden_size="n_embd", num_attention_heads="n_head", num_hidden_layers="n_layer", intermediate_size="n_inner",
        max_position_embeddings="n_positions", layer_norm_eps="layer_norm_epsilon", rope_parameters=None, head_dim=None,
        hidden_act=None,
    )
    for newer, older in names.items():
        value = config.pop(newer)
        if older:
            config[older] = value
    config.update(
        activation_function="swiglu", rotary_emb_base=1000, rotary_emb_fraction=1.0, rotary_emb_interleaved=False,
        causal=False, fused_bias_fc=True, max_trained_positions=2048, mlp_fc1_bias=False, mlp_fc2_bias=False,
        parallel_block=False, prenorm=False, qkv_proj_bias=False, rotary_scaling_factor=None, scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False, use_flash_attn=True, use_rms_norm=False, pad_vocab_size_multiple=64,
    )


def missing(config):
    """What the class has by default is left out."""
    for key in ("type_vocab_size", "layer_norm_eps", "tie_word_embeddings"):
        del config[key]


if __name__ == "__main__":
    # Distances of all buckets.
    make("mpnet", "mpnet", dict(ENCODER, max_position_embeddings=102), 100)
    make("albert", "albert", dict(ENCODER, num_hidden_layers=2, embedding_size=8, max_position_embeddings=16), 12)
    make("electra_narrow", "electra", dict(ENCODER, embedding_size=8, max_position_embeddings=16), 12)
    make("electra", "electra", dict(ENCODER, embedding_size=16, max_position_embeddings=16), 12)
    make("jina_embeddings_v3", "jina_embeddings_v3", dict(ENCODER, max_position_embeddings=16), 12, missing)
    # Wide heads in layers that see all, on both sides.
    make("gemma4", "gemma4_text", GEMMA, 24)
    make("nomic_bert", "nomic_bert", dict(ENCODER, max_position_embeddings=16), 12, older)
    # Values wider than keys.
    make("olmo_hybrid", "olmo_hybrid", OLMO, 12)
