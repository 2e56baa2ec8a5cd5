//! Every op can be checked by a case file: its inputs, its outputs by the definition, its settings.

use foveate_core::check::{self, Bounds};
use foveate_core::host::HostBackend;
use foveate_core::weights::{Checkpoint, Memory};
use foveate_core::{Error, settings};
use foveate_kernels::ops::Op;
use foveate_kernels::ops::settings::{Field, Text, Value, table};
use foveate_kernels::plan::Arg;
use foveate_kernels::testing::{draw_inputs, run_reference};
use serde_json::{Map, Value as Json, json};

/// `(op, settings, params)`: a small spec, and the settings that its tensors do not tell.
const CASES: [(&str, &str, &str); 26] = [
    ("embed", "T=5,vocab=7,dim=8", "{}"),
    ("embed", "T=5,vocab=7,dim=32,format=f16,accumulate=true", r#"{"accumulate": true}"#),
    ("linear", "T=3,K=8,N=5,bias=true", "{}"),
    ("fused_linear", "T=2,K=8,N=6,bias=true,residual=true", r#"{"N": 6, "residual": true}"#),
    ("norm", "T=3,groups=2,dim=4,bias=true,residual=true,gated=true", "{}"),
    ("rope", "T=3,H=2,D=4,positions=9", "{}"),
    ("activation", "T=3,dim=4,kind=gelu", r#"{"kind": "gelu"}"#),
    ("attention", "B=2,T=3,S=5,H=4,G=2,D=8,V=6,sinks=true,bias=true,bias_batch=false,lengths=true,lse=true", "{}"),
    ("attention", "B=2,T=3,S=8,H=2,D=4,page=4,window=5", r#"{"S": 8, "page": 4, "W": 5}"#),
    ("attention", "B=2,T=3,S=3,H=2,D=4,packed=true", r#"{"T": 3, "S": 3}"#),
    ("attention_backward", "B=1,T=3,H=2,D=4", "{}"),
    ("conv", "T=5,channels=3,initial=true,last=true", "{}"),
    ("conv_backward", "T=5,channels=3,bias=true", "{}"),
    ("delta", "B=2,T=5,H=2,HV=4,K=4,V=3,initial=true,last=true", "{}"),
    ("delta", "T=5,H=2,K=4,V=3,gate=erase_write,pool=2", r#"{"gate": "erase_write"}"#),
    ("delta_gates", "T=3,HV=2,channels=3", "{}"),
    ("delta_backward", "T=5,H=2,K=4,V=3", "{}"),
    ("merge", "N=2,rows=3,V=4", "{}"),
    ("route", "T=9,H=2,D=4,C=3,W=3,scores=true", r#"{"W": 3}"#),
    ("route_step", "T=2,H=2,D=4,C=3,W=2", r#"{"W": 2}"#),
    ("centroids", "T=9,H=2,D=4,C=3", "{}"),
    ("selected_attention", "T=9,H=2,D=4,C=3,M=1", "{}"),
    ("selected_attention_backward", "T=9,H=2,D=4,C=3", "{}"),
    ("append", "T=3,pool=5,k_width=4,v_width=6", "{}"),
    ("rope_append", "T=3,H=2,G=1,D=4,pool=5,positions=9", r#"{"H": 2}"#),
    ("sample", "vocab=40,penalty=2", r#"{"penalty": 2}"#),
];

/// A safetensors file.
fn file(op: &str, params: &str, tensors: &[(String, &Arg, Vec<u8>)]) -> Checkpoint {
    let (mut header, mut data) = (Map::new(), Vec::new());
    header.insert("__metadata__".into(), json!({"op": op, "params": params}));
    for (name, arg, bytes) in tensors {
        let begin = data.len();
        data.extend_from_slice(bytes);
        let dtype = arg.dtype.name().to_uppercase();
        header.insert(name.clone(), json!({"dtype": dtype, "shape": arg.shape, "data_offsets": [begin, data.len()]}));
    }
    let mut header = Json::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat();
    pollster::block_on(Checkpoint::safetensors(vec![Box::new(Memory::new("case", bytes))])).expect("a file")
}

/// Returns a case of the op; `change` may change its expectations.
fn case(op: &Op, params: &str, change: fn(&mut [u8])) -> Checkpoint {
    let inputs = draw_inputs(op, 7).expect("a valid spec");
    let outputs = run_reference(op, &inputs.views()).expect("it runs");
    let args = op.kernel().args();
    let arg = |name: &str| args.iter().find(|arg| arg.name == name).expect("an argument");
    let mut tensors: Vec<_> = inputs.iter().map(|(name, bytes)| (name.to_owned(), arg(name), bytes.to_vec())).collect();
    for (name, bytes) in outputs.iter() {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        tensors.push((format!("want.{name}"), arg(name), bytes));
    }
    file(op.name(), params, &tensors)
}

fn passes(file: &Checkpoint) -> bool {
    let found = pollster::block_on(check::op(&HostBackend::exact_cpu(1), file, Bounds::EXECUTOR));
    let found = found.unwrap_or_else(|error| panic!("{}: {error}", file.note("op").unwrap_or_default()));
    for finding in found.iter().filter(|finding| !finding.passed) {
        println!("{}: {}: {}", file.note("op").unwrap_or_default(), finding.name, finding.detail);
    }
    found.iter().all(|finding| finding.passed)
}

fn json(value: Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Count(n) => json!(n),
        Value::Number(x) => json!(x),
        Value::Flag(flag) => json!(flag),
        Value::Word(word) => json!(word),
    }
}

#[test]
fn case_files_check_every_op() {
    // Others are checked by their defaults.
    let others = Op::NAMES.iter().filter(|name| CASES.iter().all(|(op, ..)| op != *name));
    for (name, text, params) in CASES.into_iter().chain(others.map(|name| (*name, "", "{}"))) {
        let op = settings::op(name, text).unwrap_or_else(|error| panic!("{error}"));
        assert!(passes(&case(&op, params, |_| ())), "{name}: {text}");
        assert!(!passes(&case(&op, params, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x55))), "{name}: {text}");
    }
}

#[test]
fn params_of_case_files_are_all_settings() {
    for (name, text, _) in CASES {
        let table = table(name).expect("an op");
        let (op, known) = table.read(&mut Text::new(table, text).expect("its settings")).expect("their types");
        let pair = |(field, value): (&Field, Value)| (field.name.to_owned(), json(value));
        let params: Map<String, Json> = known.into_iter().map(|(field, value)| pair((field, value))).collect();
        assert!(passes(&case(&op, &Json::Object(params).to_string(), |_| ())), "{name}: {text}");
    }
}

#[test]
fn params_of_case_files_are_refused_by_name() {
    let op = settings::op("attention", "T=3,H=2,D=4").expect("valid");
    for (params, words) in [
        (r#"{"widow": 4}"#, "attention has no setting widow (did you mean window?)"),
        (r#"{"W": "wide"}"#, "attention: W must be a whole number below 2^32 or none, got wide"),
        (r#"{"causal": 1}"#, "attention: causal must be true or false, got 1"),
        (r#"{"causal": null}"#, "attention: causal must be true or false, got none"),
        ("[]", "params"),
    ] {
        let found =
            pollster::block_on(check::op(&HostBackend::reference(), &case(&op, params, |_| ()), Bounds::EXECUTOR));
        let error = found.expect_err(params);
        assert!(matches!(error, Error::Format { .. }) && error.to_string().contains(words), "{params}: {error}");
    }
    let unknown = file("atention", "{}", &[("want.out".into(), &op.kernel().args()[0], vec![0; 4 * 3 * 2 * 4])]);
    let found = pollster::block_on(check::op(&HostBackend::reference(), &unknown, Bounds::EXECUTOR)).expect("findings");
    assert!(found[0].detail.contains("no op atention (did you mean attention?)"), "{:?}", found[0]);
}

#[test]
fn outputs_outside_of_the_loss_have_no_gradient() {
    let op = settings::op("delta_backward", "T=5,H=2,K=4,V=3,last=true").expect("valid");
    let args = op.kernel().args();
    let arg = |name: &str| args.iter().find(|arg| arg.name == name).expect("an argument");
    let mut inputs: Vec<_> =
        draw_inputs(&op, 7).expect("valid").iter().map(|(n, b)| (n.to_owned(), b.to_vec())).collect();
    let state = inputs.iter_mut().find(|(name, _)| name == "dstate").expect("an input");
    state.1.fill(0);
    let views: Vec<(&str, &[u8])> = inputs.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
    let gradients = run_reference(&op, &views).expect("it runs");
    let mut tensors: Vec<_> = inputs.iter().map(|(name, bytes)| (name.clone(), arg(name), bytes.clone())).collect();
    tensors.retain(|(name, ..)| name != "dstate");
    tensors.extend(gradients.iter().map(|(name, bytes)| (format!("want.{name}"), arg(name), bytes.to_vec())));
    assert!(passes(&file("delta", r#"{"last": true}"#, &tensors)));
    // The gradient of what is no output is missing.
    tensors.retain(|(name, ..)| name != "beta");
    let found =
        pollster::block_on(check::op(&HostBackend::reference(), &file("delta", "{}", &tensors), Bounds::EXECUTOR));
    assert!(found.is_err_and(|error| error.to_string().contains("beta")));
}
