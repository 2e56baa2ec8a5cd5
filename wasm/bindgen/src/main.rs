//! usage: foveate-bindgen WASM FOLDER
//!
//! Reads the wasm that cargo built and writes `foveate.js`, `foveate.d.ts` and `foveate_bg.wasm` into the folder.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wasm, folder] = arguments.as_slice() else {
        eprintln!("usage: foveate-bindgen WASM FOLDER");
        return ExitCode::from(2);
    };
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen.input_path(wasm).out_name("foveate").typescript(true).remove_name_section(true);
    match bindgen.web(true).and_then(|bindgen| bindgen.generate(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("foveate-bindgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}
