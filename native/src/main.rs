//! The command line.

mod cli;

use std::process::ExitCode;

/// `foveate bench` counts what ops allocate.
#[global_allocator]
static ALLOCATOR: foveate::bench::Counting = foveate::bench::Counting;

fn main() -> ExitCode {
    hush();
    match cli::run(cli::Cli::of_command_line()) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(foveate::Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.to_string().replace(['\n', '\r'], " "));
            ExitCode::FAILURE
        }
    }
}

/// Mesa looks for a Wayland display when it lists devices, and complains on standard error where there can be none.
fn hush() {
    #[cfg(target_os = "linux")]
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: nothing else runs yet in this process.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", "/nonexistent") };
    }
}
