//! Lists what Mesa's RADV makes of every shader variant, for GPUs that are not there: needs Debian's
//! `mesa-vulkan-drivers` (or another Mesa with RADV), no GPU.

use clap::Parser;
use foveate_benches::listing::{Row, rows, table};
use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread::ScopedJoinHandle;

/// RDNA 2 and RDNA 3, under the driver's names.
const FAMILIES: [&str; 2] = ["navi21", "gfx1100"];

/// Lists registers, occupancy and the hottest loop of every shader variant, as Mesa's RADV compiles them.
#[derive(Parser)]
struct Args {
    /// Only variants whose name contains this.
    #[arg(default_value = "")]
    filter: String,
    /// Print the disassembly, too.
    #[arg(long)]
    asm: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write the table into docs/benchmarks.md.
    #[arg(long)]
    markdown: bool,
    /// Fail if a variant spills, uses scratch memory or more workgroup memory than it declares.
    #[arg(long)]
    check: bool,
    /// Compile for this family only.
    #[arg(long)]
    family: Option<String>,
}

/// The variable that the driver reads; set, this process compiles for that family and prints JSON.
const FAMILY: &str = "RADV_FORCE_FAMILY";

fn driver() -> Result<std::path::PathBuf, Box<dyn Error>> {
    let folder = Path::new("/usr/share/vulkan/icd.d");
    let files = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    files
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("radeon_icd")))
        .ok_or_else(|| format!("no radeon_icd in {}: install mesa-vulkan-drivers", folder.display()).into())
}

/// This program again, in the environment that makes the driver offer `family`.
fn compile(family: &str, args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    let driver = driver()?;
    command.env(FAMILY, family).env("VK_ICD_FILENAMES", &driver).env("VK_DRIVER_FILES", &driver);
    // No layer that sorts devices; no results from before.
    command.env("NODEVICE_SELECT", "1").env("MESA_SHADER_CACHE_DISABLE", "true");
    command.arg(&args.filter).args(args.asm.then_some("--asm"));
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{family}: {}: {}", output.status, said.trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn run() -> Result<bool, Box<dyn Error>> {
    let args = Args::parse();
    if let Ok(family) = std::env::var(FAMILY) {
        println!("{}", serde_json::to_string(&rows(&family, &args.filter, args.asm)?)?);
        return Ok(true);
    }
    let families = args.family.as_deref().map_or(FAMILIES.to_vec(), |family| vec![family]);
    // A process each, side by side.
    let all = std::thread::scope(|scope| {
        let args = &args;
        let compile = |family| scope.spawn(move || compile(family, args).map_err(|e| e.to_string()));
        let running: Vec<_> = families.into_iter().map(compile).collect();
        let rows = |family: ScopedJoinHandle<'_, Result<Vec<Row>, String>>| family.join().expect("it does not panic");
        running.into_iter().map(rows).collect::<Result<Vec<_>, _>>()
    })?;
    let all: Vec<Row> = all.into_iter().flatten().collect();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else if args.markdown {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
        let page = std::fs::read_to_string(&path)?;
        let page = table::insert(&page, &table::markdown(&all)).ok_or("docs/benchmarks.md has no markers")?;
        std::fs::write(&path, page)?;
    } else if !args.check {
        print!("{}", table::text(&all));
    }
    for row in &all {
        if let Some(assembly) = row.assembly.as_ref().filter(|_| !args.json) {
            println!("\n{} on {}:\n{assembly}", row.name, row.family);
        }
    }
    let faults: Vec<String> = all.iter().filter_map(Row::fault).collect();
    if args.check {
        println!("listing: {} variants, {} faults", all.len(), faults.len());
    }
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    Ok(!args.check || (faults.is_empty() && !all.is_empty()))
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("listing: {e}");
            ExitCode::FAILURE
        }
    }
}
