// Builds the package: the wasm with cargo, its glue with wasm-bindgen, wasm-opt, then TypeScript.
//
// usage: npm run build [-- --only-ts]

import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const root = dirname(web);
const require = createRequire(import.meta.url);

function run(command, args, options = {}) {
  console.log(`> ${command} ${args.join(" ")}`);
  execFileSync(command, args, { cwd: root, stdio: "inherit", ...options });
}

/** Starts a command; the promise resolves when it has succeeded. */
function start(command, args, options = {}) {
  console.log(`> ${command} ${args.join(" ")}`);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit", ...options });
    child.on("error", reject);
    child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`${command} failed with exit code ${code}`))));
  });
}

/** Runs a command of an npm package in this Node.js. */
function tool(name, command, args) {
  const folder = dirname(require.resolve(`${name}/package.json`));
  const { bin } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  run(process.execPath, [join(folder, bin[command]), ...args], { cwd: web });
}

const target = "wasm32-unknown-unknown";

/**
 * Builds the wasm and Rust's standard library in a target folder. The standard library that comes with Rust has no atomics
 * and is larger. `RUSTC_BOOTSTRAP` allows the pinned toolchain to build it.
 */
function wasm(folder, flags, more = [], crate = "foveate-wasm") {
  const env = { ...process.env, RUSTC_BOOTSTRAP: "1", CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS: flags.join(" ") };
  // A panic is a trap without a message: messages and the code that formats them would add a twentieth to the download.
  Object.assign(env, { CARGO_UNSTABLE_PANIC_IMMEDIATE_ABORT: "true", CARGO_PROFILE_WASM_PANIC: "immediate-abort" });
  // The small forms of sorting and formatting: the quick ones are made anew for each type that is sorted.
  const library = ["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"];
  const build = ["build", "--locked", "--quiet", ...library, "--profile", "wasm", "--target", target];
  return start("cargo", [...build, "-p", crate, "--target-dir", folder, ...more], { env });
}

const ONE_THREAD = ["-Ctarget-feature=+simd128"];

/** Builds the wasm with one thread, which most pages download. */
const single = (folder) => wasm(folder, ONE_THREAD);

/** Builds the module of answers' parts, with constraints or without. */
const parts = (folder, features) => wasm(folder, ONE_THREAD, features, "foveate-parts");

/** Builds the wasm whose threads share a memory, for cross-origin isolated pages. */
function threaded(folder) {
  const link = ["--shared-memory", "--import-memory", "--max-memory=4294967296"];
  const symbols = ["__wasm_init_tls", "__tls_size", "__tls_align", "__tls_base"].map((name) => `--export=${name}`);
  const features = "-Ctarget-feature=+atomics,+bulk-memory,+mutable-globals,+simd128";
  const flags = [features, ...[...link, ...symbols].map((argument) => `-Clink-arg=${argument}`)];
  return wasm(folder, flags, ["--features", "threads"]);
}

/** Installs the sources of the standard library if they are missing. */
function sources() {
  const sysroot = execFileSync("rustc", ["--print", "sysroot"], { cwd: root, encoding: "utf8" }).trim();
  if (!existsSync(join(sysroot, "lib", "rustlib", "src", "rust", "library", "Cargo.lock"))) {
    run("rustup", ["component", "add", "rust-src"]);
  }
}

/** Returns the arguments of cargo that build or run `wasm/bindgen`, which writes the glue. */
function bindgen(command) {
  const manifest = join(root, "wasm", "bindgen", "Cargo.toml");
  return [command, "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", join(targets(), "tools")];
}

/** Writes the wasm in `built`, optimized, and its glue into `pkg`. */
function packed(built, pkg, name = "foveate_wasm") {
  mkdirSync(pkg, { recursive: true });
  run("cargo", [...bindgen("run"), "--", join(built, "wasm", `${name}.wasm`), pkg]);
  const [file, optimised] = [join(pkg, "foveate_bg.wasm"), join(pkg, "optimised.wasm")];
  // Higher levels are not faster, and larger when compressed.
  tool("binaryen", "wasm-opt", [file, "-o", optimised, "-O1", "--strip-debug"]);
  renameSync(optimised, file);
  const gzipped = gzipSync(readFileSync(file), { level: 9 }).length;
  console.log(`${relative(web, file)}: ${statSync(file).size} bytes, ${gzipped} gzipped`);
}

/** Returns cargo's target folder. */
function targets() {
  const metadata = execFileSync("cargo", ["metadata", "--no-deps", "--format-version", "1"], { cwd: root });
  return JSON.parse(metadata).target_directory;
}

/** Writes the types of the ops' settings and arguments, from the field tables of the ops. */
async function types() {
  const { default: init, opTypes } = await import(new URL("../pkg/foveate.js", import.meta.url));
  await init({ module_or_path: readFileSync(join(web, "pkg", "foveate_bg.wasm")) });
  writeFileSync(join(web, "pkg", "ops.d.ts"), opTypes());
}

/**
 * Replaces names of the libraries `dom` and `esnext.disposable` in the glue's types, for programs without these libraries.
 * Removes comments from the glue's scripts, which browsers would download; the types keep them.
 */
function plainGlue() {
  const comments = /^ *\/\*\*\n(?: *\*.*\n)*? *\*\/\n/gm;
  for (const folder of ["pkg", "pkg/threads", "pkg/parts", "pkg/constrain"]) {
    const [file, script] = ["d.ts", "js"].map((ending) => join(web, folder, `foveate.${ending}`));
    const types = readFileSync(file, "utf8")
      .replaceAll(/^ *\[Symbol\.dispose\]\(\): void;\n/gm, "")
      .replaceAll(/\bWebAssembly\.\w+/g, "object")
      .replaceAll("RequestInfo | URL | Response | BufferSource | object", "unknown")
      .replaceAll("BufferSource | object", "object");
    writeFileSync(file, types);
    writeFileSync(script, readFileSync(script, "utf8").replaceAll(comments, ""));
  }
}

/** Copies the types into a folder of CommonJS: TypeScript takes a file's kind of module from the nearest `package.json`. */
function commonTypes() {
  const cjs = join(web, "cjs");
  rmSync(cjs, { recursive: true, force: true });
  const isTypes = (path) => path.endsWith(".d.ts") && !path.endsWith(".wasm.d.ts");
  const filter = (path) => statSync(path).isDirectory() ? !path.endsWith("threads") : isTypes(path);
  for (const folder of ["dist", "pkg"]) cpSync(join(web, folder), join(cjs, folder), { recursive: true, filter });
  writeFileSync(join(cjs, "package.json"), '{ "type": "commonjs" }\n');
}

/** Copies the licences, which npm looks for beside the manifest. */
function licences() {
  for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(join(root, name), join(web, name));
}

if (!process.argv.includes("--only-ts")) {
  rmSync(join(web, "pkg"), { recursive: true, force: true });
  sources();
  const [one, threads] = ["single", "threads"].map((name) => join(targets(), name));
  // In parallel: each build spends most of its time in one crate, on one thread.
  await Promise.all([single(one), threaded(threads), start("cargo", bindgen("build"))]);
  packed(join(one, target), join(web, "pkg"));
  packed(join(threads, target), join(web, "pkg", "threads"));
  for (const [folder, features] of [["parts", []], ["constrain", ["--features", "constrain"]]]) {
    await parts(one, features);
    packed(join(one, target), join(web, "pkg", folder), "foveate_parts");
  }
  await types();
}
plainGlue();
rmSync(join(web, "dist"), { recursive: true, force: true });
tool("typescript", "tsc", []);
commonTypes();
licences();
