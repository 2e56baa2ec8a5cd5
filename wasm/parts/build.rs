//! Sets the size of the stack: parsers of constraints call themselves for each level of nesting, and the default of 1 MiB is
//! less than they need for the levels that are allowed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size=8388608");
    }
}
