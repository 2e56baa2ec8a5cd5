// Builds the package: the wasm with cargo, its glue with wasm-bindgen, wasm-opt, then TypeScript.
//
// usage: npm run build [-- --only-ts]

import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { memoryOf } from "./memory.mjs";

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

/** Modules beside that of the models, both of `wasm/parts`: folder and features. */
const SMALL = [
  ["parts", []],
  ["constrain", ["--features", "constrain"]],
];

/**
 * Builds the wasm of the models. Its memory is imported, and its code has atomics, which are valid on any memory: threads
 * share the memory in cross-origin isolated pages, and other pages give the same file a memory of one thread.
 */
function engine(folder) {
  const link = ["--shared-memory", "--import-memory", "--max-memory=4294967296"];
  const symbols = ["__wasm_init_tls", "__tls_size", "__tls_align", "__tls_base"].map((name) => `--export=${name}`);
  const features = "-Ctarget-feature=+atomics,+bulk-memory,+mutable-globals,+simd128";
  const flags = [features, ...[...link, ...symbols].map((argument) => `-Clink-arg=${argument}`)];
  return wasm(folder, flags);
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

/** Writes a wasm file, optimized, and its glue into `pkg`. */
function packed(built, pkg) {
  mkdirSync(pkg, { recursive: true });
  run("cargo", [...bindgen("run"), "--", built, pkg]);
  const [file, optimised] = [join(pkg, "foveate_bg.wasm"), join(pkg, "optimised.wasm")];
  // Higher levels are not faster, and larger when compressed. Sets of locals that change nothing are 4 kB of that.
  tool("binaryen", "wasm-opt", [file, "-o", optimised, "-O1", "--rse", "--vacuum", "--strip-debug"]);
  renameSync(optimised, file);
  const gzipped = gzipSync(readFileSync(file), { level: 9 }).length;
  console.log(`${relative(web, file)}: ${statSync(file).size} bytes, ${gzipped} gzipped`);
}

/**
 * Writes that the wasm's memory is that of one thread, into the file and into its glue, and where the file says so: scripts that
 * start threads change the byte, and bring a memory.
 */
function unshare(pkg) {
  const file = join(pkg, "foveate_bg.wasm");
  const bytes = readFileSync(file);
  const { flags, initial, maximum } = memoryOf(bytes);
  bytes[flags] = 1;
  writeFileSync(file, bytes);
  const glue = join(pkg, "foveate.js");
  writeFileSync(glue, readFileSync(glue, "utf8").replaceAll(",shared:true", ""));
  const [script, types] = ["js", "d.ts"].map((ending) => join(pkg, `memory.${ending}`));
  writeFileSync(script, `export const FLAGS = ${flags}, INITIAL = ${initial}, MAXIMUM = ${maximum};\n`);
  const lines = ["/** Offset of the byte that is 1 if the wasm's memory is not shared, and 3 if it is. */", "export declare const FLAGS: number;"];
  lines.push("/** Pages of the memory at first and at most, of 64 KiB each. */", "export declare const INITIAL: number, MAXIMUM: number;");
  writeFileSync(types, `${lines.join("\n")}\n`);
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
  for (const folder of ["pkg", "pkg/parts", "pkg/constrain"]) {
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
  const filter = (path) => statSync(path).isDirectory() || isTypes(path);
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
  const [models, small] = ["threads", "single"].map((name) => join(targets(), name));
  const modules = async () => {
    for (const [folder, features] of SMALL) {
      await wasm(small, ONE_THREAD, features, "foveate-parts");
      // The next one replaces this file.
      copyFileSync(join(small, target, "wasm", "foveate_parts.wasm"), join(small, `${folder}.wasm`));
    }
  };
  // In parallel: each build spends most of its time in one crate, on one thread.
  await Promise.all([engine(models), modules(), start("cargo", bindgen("build"))]);
  packed(join(models, target, "wasm", "foveate_wasm.wasm"), join(web, "pkg"));
  unshare(join(web, "pkg"));
  for (const [folder] of SMALL) packed(join(small, `${folder}.wasm`), join(web, "pkg", folder));
  await types();
}
plainGlue();
rmSync(join(web, "dist"), { recursive: true, force: true });
tool("typescript", "tsc", []);
commonTypes();
licences();
