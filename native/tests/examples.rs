//! The examples run.

#[path = "../examples/attention.rs"]
mod attention;

#[test]
fn attention_runs_in_a_program_with_its_own_device() {
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    match attention::main() {
        Ok(()) => {}
        Err(error) if !required && error.is::<wgpu::RequestAdapterError>() => eprintln!("ignored: {error}"),
        Err(error) => panic!("{error}"),
    }
}
