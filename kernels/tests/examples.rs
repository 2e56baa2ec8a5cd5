//! The examples run.

#[path = "../examples/own_engine.rs"]
mod own_engine;
#[path = "../examples/your_kernel.rs"]
mod your_kernel;

#[test]
fn own_engine_runs_a_plan_with_pipelines_of_its_own() {
    runs(own_engine::main());
}

#[test]
fn your_kernel_agrees_with_the_definition() {
    runs(your_kernel::main());
}

/// The page is what was tested, line for line.
#[test]
fn testing_your_kernel_shows_the_example() {
    let page = include_str!("../../docs/testing-your-kernel.md");
    let example = include_str!("../examples/your_kernel.rs");
    let shown = |text: &'static str| text.split_once("// snippet").and_then(|(_, rest)| rest.split_once("\n"));
    let (_, snippet) = shown(example).expect("the example marks its snippet");
    let (snippet, _) = snippet.split_once("// end of the snippet").expect("the snippet ends");
    assert!(page.contains(snippet.trim_end()), "docs/testing-your-kernel.md differs from the example");
}

/// No adapter is a failure only where one is required.
fn runs(example: Result<(), Box<dyn std::error::Error>>) {
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    match example {
        Ok(()) => {}
        Err(error) if !required && error.is::<wgpu::RequestAdapterError>() => eprintln!("ignored: {error}"),
        Err(error) => panic!("{error}"),
    }
}
