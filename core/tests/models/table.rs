//! The table of families in docs/formats.md: those of the registry, and the cases that check each of them.

use super::{FAMILIES, gguf, golden};
use foveate_core::model::{architectures, families};
use libtest_mimic::Failed;
use std::collections::{BTreeMap, BTreeSet};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/formats.md");
/// Families whose GGUF files are checked with real models, or in core/tests/hybrid.
const OTHERS: [&str; 3] = ["gemma3", "gpt2", "rwkv7"];
const BEGIN: &str =
    "<!-- The table of families: core/tests/models writes it if the environment has FOVEATE_WRITE_DOCS. -->\n";
const END: &str = "<!-- End of the table. -->\n";

/// The families that a folder's configuration names: of the model, and of the text model in it.
fn kinds(folder: &str) -> Result<Vec<String>, Failed> {
    let config = std::fs::read(golden().join(folder).join("config.json"))?;
    let config = String::from_utf8_lossy(&config).replace("Infinity", "0");
    let config: serde_json::Value = serde_json::from_str(&config)?;
    let inside = config["text_config"]["model_type"].as_str();
    Ok(config["model_type"].as_str().into_iter().chain(inside).map(Into::into).collect())
}

fn table() -> Result<String, Failed> {
    let mut cases: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for folder in FAMILIES {
        for kind in kinds(folder)? {
            cases.entry(kind).or_default().push(folder);
        }
    }
    let hybrid = ["delta_net", "gated_deltanet", "mor", "routing_transformer", "rwkv7"];
    let hybrid = hybrid.map(|name| (name, "core/tests/hybrid"));
    // Classes of models that are those of another family, or that hold one.
    let same = [
        ("albert", "variants/albert"),
        ("camembert", "roberta"),
        ("electra", "variants/electra"),
        ("electra", "variants/electra_narrow"),
        ("jina_embeddings_v3", "variants/jina_embeddings_v3"),
        ("mpnet", "variants/mpnet"),
        ("gemma3n", "gemma3n"),
        ("idefics3", "vlm_smolvlm"),
        ("lfm3_vl", "vlm_lfm2"),
        ("qwen3_5_moe", "qwen3_5_moe"),
    ];
    for (family, case) in same.into_iter().chain(hybrid) {
        cases.entry(family.into()).or_default().push(case);
    }
    for (family, _) in super::outer::ALL.into_iter().chain([("llama4", "")]) {
        cases.entry(family.into()).or_default().push("core/tests/models/outer");
    }
    for kind in super::made::kinds() {
        cases.entry(kind).or_default().push("core/tests/data/made.json");
    }
    let mut files: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for conversion in gguf::ALL {
        for kind in kinds(&format!("families/{}", conversion.family))? {
            files.entry(kind).or_default().insert(conversion.architecture);
        }
    }
    let mut text = "| `model_type` | as GGUF, `general.architecture` | checked by |\n|---|---|---|\n".to_owned();
    for family in families() {
        let quoted =
            |names: &BTreeSet<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let own = OTHERS.into_iter().filter(|name| *name == family);
        let architectures: BTreeSet<&str> = files.get(family).into_iter().flatten().copied().chain(own).collect();
        let Some(cases) = cases.get(family) else { return Err(format!("no case checks {family}").into()) };
        let names: BTreeSet<&str> = cases.iter().map(|case| case.rsplit('/').next().unwrap_or(case)).collect();
        let cases = names.into_iter().collect::<Vec<_>>().join(", ");
        text += &format!("| `{family}` | {} | {cases} |\n", quoted(&architectures));
    }
    Ok(text)
}

pub(crate) fn agrees() -> Result<(), Failed> {
    let converted: BTreeSet<&str> = gguf::ALL.iter().map(|conversion| conversion.architecture).collect();
    for architecture in architectures() {
        if !converted.contains(architecture) && !OTHERS.contains(&architecture) {
            return Err(format!("no folder is converted to the architecture {architecture}").into());
        }
    }
    let docs = std::fs::read_to_string(PATH)?;
    let (before, rest) = docs.split_once(BEGIN).ok_or("docs/formats.md has no table of families")?;
    let (found, after) = rest.split_once(END).ok_or("the table of families has no end")?;
    let wanted = table()?;
    if found == wanted {
        return Ok(());
    }
    if std::env::var_os("FOVEATE_WRITE_DOCS").is_some() {
        std::fs::write(PATH, [before, BEGIN, &wanted, END, after].concat())?;
        return Ok(());
    }
    Err("docs/formats.md has another table of families: set FOVEATE_WRITE_DOCS=1 and run this test again".into())
}
