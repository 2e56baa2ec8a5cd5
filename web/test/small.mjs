// A small model with random weights, a layer of each kind and a byte-level tokenizer. No published model has all of these
// kinds of layers.

import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [VOCAB, DIM, INNER, HEADS, HEAD, CENTROIDS, KEYS, VALUES] = [256, 64, 96, 4, 16, 4, 24, 32];

/** The layers, in the form of `model.layers`. */
export const layers = [
  { kind: "delta", heads: 2, keyDim: KEYS, valueDim: VALUES },
  { kind: "routing", heads: 2, clusters: CENTROIDS, window: 6 },
  { kind: "attention", heads: HEADS, window: null },
];

/** Names of the kinds of layers in `config.json`. */
const TYPES = { delta: "linear_attention", routing: "routing_attention", attention: "full_attention" };

const config = {
  model_type: "routing_transformer",
  vocab_size: VOCAB,
  hidden_size: DIM,
  intermediate_size: INNER,
  max_position_embeddings: 512,
  num_attention_heads: HEADS,
  head_dim: HEAD,
  local_window: 16,
  num_centroids: CENTROIDS,
  routing_window: 6,
  tie_word_embeddings: true,
  linear_num_key_heads: 2,
  linear_num_value_heads: 2,
  linear_key_head_dim: KEYS,
  linear_value_head_dim: VALUES,
};

/** Returns names and shapes of the tensors. */
function shapes(kinds) {
  const [keys, values, heads, routed] = [2 * KEYS, 2 * VALUES, 2 * HEAD, 2 * HEAD];
  const mixers = {
    delta: {
      "linear_attn.in_proj_qkv.weight": [2 * keys + values, DIM],
      "linear_attn.in_proj_z.weight": [values, DIM],
      "linear_attn.in_proj_b.weight": [2, DIM],
      "linear_attn.in_proj_a.weight": [2, DIM],
      "linear_attn.conv1d.weight": [2 * keys + values, 1, 4],
      "linear_attn.A_log": [2],
      "linear_attn.dt_bias": [2],
      "linear_attn.norm.weight": [VALUES],
      "linear_attn.out_proj.weight": [DIM, values],
    },
    routing: {
      ...attention(heads),
      "routing.qk_proj.weight": [routed, DIM],
      "routing.v_proj.weight": [routed, DIM],
      "routing.centroids": [2, CENTROIDS, HEAD],
      "routing.o_proj.weight": [DIM, routed],
    },
    attention: attention(HEADS * HEAD),
  };
  const around = {
    "input_layernorm.weight": [DIM],
    "post_attention_layernorm.weight": [DIM],
    "mlp.gate_proj.weight": [INNER, DIM],
    "mlp.up_proj.weight": [INNER, DIM],
    "mlp.down_proj.weight": [DIM, INNER],
  };
  const all = kinds.flatMap((kind, i) =>
    Object.entries({ ...mixers[kind], ...around }).map(([name, shape]) => [`model.layers.${i}.${name}`, shape]),
  );
  return [["model.embed_tokens.weight", [VOCAB, DIM]], ...all, ["model.norm.weight", [DIM]]];
}

function attention(width) {
  const into = Object.fromEntries(["q", "k", "v"].map((name) => [`self_attn.${name}_proj.weight`, [width, DIM]]));
  return { ...into, "self_attn.o_proj.weight": [DIM, width] };
}

/** Returns a safetensors file, the same at every run. */
function weights(kinds) {
  let seed = 7;
  const uniform = () => ((seed = (seed * 1103515245 + 12345) % 2 ** 31) / 2 ** 31) * 2 - 1;
  const header = {};
  const parts = [];
  let at = 0;
  for (const [name, shape] of shapes(kinds)) {
    const count = shape.reduce((a, b) => a * b);
    const norm = name.endsWith("norm.weight");
    const scale = norm ? 0.2 : shape.length === 1 ? 0.7 : 2 / Math.sqrt(shape.at(-1));
    const values = Float32Array.from({ length: count }, () => scale * uniform() + (norm ? 1 : 0));
    header[name] = { dtype: "F32", shape, data_offsets: [at, at + 4 * count] };
    parts.push(Buffer.from(values.buffer));
    at += 4 * count;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...parts]);
}

/** Returns a tokenizer with one token per byte, in the spelling of byte-level vocabularies. */
function tokenizer() {
  const plain = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  const spelt = Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(plain(byte) ? byte : next++));
  const vocab = Object.fromEntries(spelt.map((token, id) => [token, id]));
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return { version: "1.0", added_tokens: [], pre_tokenizer: level, decoder: level, model: { type: "BPE", vocab, merges: [] } };
}

/** Writes the model's folder, in the layout of a hub, with layers of these kinds; returns its path. */
export function smallFolder(kinds = layers.map(({ kind }) => kind)) {
  const folder = mkdtempSync(join(tmpdir(), "small-"));
  const types = { num_hidden_layers: kinds.length, layer_types: kinds.map((kind) => TYPES[kind]) };
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, ...types }));
  writeFileSync(join(folder, "model.safetensors"), weights(kinds));
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer()));
  return folder;
}
