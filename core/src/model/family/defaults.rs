//! Sizes of the classes of transformers, which count where a configuration leaves them out.

/// The sizes of a class; 0 for one that follows from the others.
pub(super) struct Sizes {
    /// Tokens of the vocabulary, width of the stream, layers, heads, and elements between the products of MLPs.
    values: [u32; 5],
}

/// The names of the keys of each size.
const KEYS: [&[&str]; 5] = [
    &["vocab_size"],
    &["hidden_size", "n_embd", "d_model"],
    &["num_hidden_layers", "n_layer", "num_layers", "n_layers"],
    &["num_attention_heads", "n_head", "num_heads", "n_heads"],
    &["intermediate_size", "ffn_dim", "intermediate_size_mlp", "moe_intermediate_size"],
];

impl Sizes {
    /// Returns the size that `key` names.
    pub(super) fn of(&self, key: &str) -> Option<u32> {
        let at = KEYS.iter().position(|names| names.contains(&key))?;
        Some(self.values[at]).filter(|value| *value > 0)
    }
}

/// Returns the sizes of the class of a `model_type`.
pub(super) fn find(kind: &str) -> Option<&'static Sizes> {
    ALL.iter().find(|(name, _)| *name == kind).map(|(_, sizes)| sizes)
}

const fn sizes(values: [u32; 5]) -> Sizes {
    Sizes { values }
}

#[rustfmt::skip]
static ALL: &[(&str, Sizes)] = &[
    ("afmoe", sizes([200_192, 2048, 32, 16, 6144])),
    ("apertus", sizes([131_072, 4096, 32, 32, 14_336])),
    ("arcee", sizes([32_000, 2560, 32, 32, 18_432])),
    ("bamba", sizes([128_000, 4096, 32, 32, 14_336])),
    ("bitnet", sizes([128_256, 2560, 30, 20, 6912])),
    ("bloom", sizes([250_880, 64, 2, 8, 0])),
    ("codegen", sizes([50_400, 4096, 28, 16, 0])),
    ("cohere", sizes([256_000, 8192, 40, 64, 22_528])),
    ("cohere2", sizes([256_000, 8192, 40, 64, 22_528])),
    ("cwm", sizes([128_256, 6144, 64, 48, 21_504])),
    ("deepseek_v2", sizes([102_400, 4096, 32, 32, 11_008])),
    ("deepseek_v3", sizes([129_280, 7168, 61, 128, 18_432])),
    ("dots1", sizes([152_064, 4608, 62, 32, 10_944])),
    ("ernie4_5", sizes([103_424, 1024, 18, 16, 3072])),
    ("ernie4_5_moe", sizes([103_424, 2560, 28, 20, 12_288])),
    ("eurobert", sizes([128_256, 768, 12, 12, 3072])),
    ("exaone", sizes([102_400, 4096, 32, 32, 14_336])),
    ("exaone4", sizes([102_400, 4096, 32, 32, 16_384])),
    ("exaone_moe", sizes([102_400, 4096, 32, 32, 16_384])),
    ("falcon", sizes([65_024, 4544, 32, 71, 0])),
    ("falcon_h1", sizes([128_000, 4096, 32, 32, 14_336])),
    ("flex_olmo", sizes([100_352, 4096, 32, 32, 11_008])),
    ("flint", sizes([150_144, 2048, 49, 32, 6144])),
    ("gemma", sizes([256_000, 3072, 28, 16, 24_576])),
    ("gemma2", sizes([256_000, 2304, 26, 8, 9216])),
    ("gemma3_text", sizes([262_208, 2304, 26, 8, 9216])),
    ("gemma3n_text", sizes([262_400, 2048, 35, 8, 0])),
    ("gemma4_text", sizes([262_144, 2304, 30, 8, 9216])),
    ("glm", sizes([151_552, 4096, 40, 32, 13_696])),
    ("glm4", sizes([151_552, 4096, 40, 32, 13_696])),
    ("glm4_moe", sizes([151_552, 4096, 46, 96, 10_944])),
    ("glm4_moe_lite", sizes([154_880, 2048, 47, 20, 10_240])),
    ("glm4v_moe_text", sizes([151_424, 4096, 46, 96, 10_944])),
    ("glm4v_text", sizes([151_552, 4096, 40, 32, 13_696])),
    ("gpt2", sizes([50_257, 768, 12, 12, 0])),
    ("gpt_bigcode", sizes([50_257, 768, 12, 12, 0])),
    ("gpt_neo", sizes([50_257, 2048, 24, 16, 0])),
    ("gpt_neox", sizes([50_432, 6144, 44, 64, 24_576])),
    ("gpt_oss", sizes([201_088, 2880, 36, 64, 2880])),
    ("gptj", sizes([50_400, 4096, 28, 16, 0])),
    ("granite", sizes([32_000, 4096, 32, 32, 11_008])),
    ("granite_swa", sizes([100_352, 2560, 24, 20, 8192])),
    ("granitemoe", sizes([32_000, 4096, 32, 32, 11_008])),
    ("granitemoe_swa", sizes([32_000, 4096, 32, 32, 11_008])),
    ("granitemoehybrid", sizes([32_000, 4096, 32, 32, 11_008])),
    ("granitemoeshared", sizes([32_000, 4096, 32, 32, 11_008])),
    ("helium", sizes([48_000, 2560, 24, 20, 7040])),
    ("hunyuan_v1_dense", sizes([290_943, 4096, 32, 32, 11_008])),
    ("hunyuan_v1_moe", sizes([290_943, 4096, 32, 32, 11_008])),
    ("hy_v3", sizes([120_832, 4096, 80, 64, 13_312])),
    ("hyperclovax", sizes([32_000, 4096, 32, 32, 11_008])),
    ("internlm3", sizes([128_512, 4096, 48, 32, 10_240])),
    ("iquestcoder", sizes([76_800, 5120, 80, 40, 27_648])),
    ("jais2", sizes([150_272, 3328, 32, 26, 26_624])),
    ("kimi_linear", sizes([163_840, 2304, 27, 32, 9216])),
    ("lfm2", sizes([65_536, 2560, 32, 32, 12_288])),
    ("lfm2_moe", sizes([65_536, 2048, 32, 32, 7168])),
    ("lfm3", sizes([128_000, 2048, 24, 16, 7680])),
    ("llama", sizes([32_000, 4096, 32, 32, 11_008])),
    ("llama4_text", sizes([202_048, 5120, 48, 40, 16_384])),
    ("mamba2", sizes([32_768, 4096, 64, 128, 0])),
    ("mellum", sizes([98_304, 2304, 28, 32, 7168])),
    ("mimo_v2_flash", sizes([152_576, 4096, 48, 64, 16_384])),
    ("minicpm3", sizes([73_448, 2560, 62, 40, 6400])),
    ("minimax_m2", sizes([200_064, 3072, 62, 48, 1536])),
    ("ministral", sizes([32_000, 4096, 32, 32, 14_336])),
    ("ministral3", sizes([131_072, 4096, 34, 32, 14_336])),
    ("mistral", sizes([32_000, 4096, 32, 32, 14_336])),
    ("mistral4", sizes([131_072, 4096, 36, 32, 12_288])),
    ("mixtral", sizes([32_000, 4096, 32, 32, 14_336])),
    ("mpt", sizes([50_368, 2048, 24, 16, 0])),
    ("nanochat", sizes([50_304, 768, 12, 6, 8192])),
    ("nemotron", sizes([256_000, 6144, 32, 48, 24_576])),
    ("nemotron_h", sizes([131_072, 4096, 4, 32, 21_504])),
    ("olmo", sizes([50_304, 4096, 32, 32, 11_008])),
    ("olmo2", sizes([50_304, 4096, 32, 32, 11_008])),
    ("olmo3", sizes([50_304, 4096, 32, 32, 11_008])),
    ("olmo_hybrid", sizes([100_352, 3840, 32, 30, 11_008])),
    ("olmoe", sizes([50_304, 2048, 16, 16, 2048])),
    ("opt", sizes([50_272, 768, 12, 12, 3072])),
    ("paddleocr_vl_text", sizes([103_424, 1024, 18, 16, 3072])),
    ("persimmon", sizes([262_144, 4096, 36, 64, 16_384])),
    ("phi", sizes([51_200, 2048, 24, 32, 8192])),
    ("phi3", sizes([32_064, 3072, 32, 32, 8192])),
    ("phimoe", sizes([32_064, 4096, 32, 32, 6400])),
    ("qwen2", sizes([151_936, 4096, 32, 32, 22_016])),
    ("qwen2_5_vl_text", sizes([152_064, 8192, 80, 64, 29_568])),
    ("qwen2_moe", sizes([151_936, 2048, 24, 16, 5632])),
    ("qwen2_vl_text", sizes([152_064, 8192, 80, 64, 29_568])),
    ("qwen3", sizes([151_936, 4096, 32, 32, 22_016])),
    ("qwen3_5_moe_text", sizes([248_320, 2048, 40, 16, 0])),
    ("qwen3_5_text", sizes([248_320, 4096, 32, 16, 12_288])),
    ("qwen3_moe", sizes([151_936, 2048, 24, 32, 6144])),
    ("qwen3_next", sizes([151_936, 2048, 48, 16, 5632])),
    ("qwen3_vl_moe_text", sizes([151_936, 2048, 24, 16, 5632])),
    ("qwen3_vl_text", sizes([151_936, 4096, 32, 32, 22_016])),
    ("sarvam_mla", sizes([262_144, 4096, 32, 64, 16_384])),
    ("sarvam_moe", sizes([262_144, 4096, 19, 64, 8192])),
    ("seed_oss", sizes([155_136, 4096, 64, 80, 27_648])),
    ("smollm3", sizes([128_256, 2048, 36, 16, 11_008])),
    ("solar_open", sizes([196_608, 4096, 48, 64, 1280])),
    ("stablelm", sizes([50_304, 2560, 32, 32, 6912])),
    ("starcoder2", sizes([49_152, 3072, 30, 24, 12_288])),
    ("vaultgemma", sizes([256_000, 2304, 26, 8, 9216])),
    ("youtu", sizes([128_256, 2048, 32, 16, 6144])),
    ("zamba2", sizes([32_000, 2560, 54, 32, 10_240])),
];
