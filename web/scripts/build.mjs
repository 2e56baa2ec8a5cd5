// Builds the package: wasm by cargo, glue by wasm-bindgen, wasm-opt, then TypeScript.
//
// usage: npm run build [-- --only-ts]

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const root = dirname(web);
const require = createRequire(import.meta.url);

function run(command, args, options = {}) {
  console.log(`> ${command} ${args.join(" ")}`);
  execFileSync(command, args, { cwd: root, stdio: "inherit", ...options });
}

/** A command of an npm package, run by this Node.js. */
function tool(name, command, args) {
  const folder = dirname(require.resolve(`${name}/package.json`));
  const { bin } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  run(process.execPath, [join(folder, bin[command]), ...args], { cwd: web });
}

function wasm() {
  const target = "wasm32-unknown-unknown";
  const metadata = execFileSync("cargo", ["metadata", "--no-deps", "--format-version", "1"], { cwd: root });
  const folder = JSON.parse(metadata).target_directory;
  run("cargo", ["build", "--locked", "--profile", "wasm", "--target", target, "-p", "foveate-wasm"]);
  const pkg = join(web, "pkg");
  rmSync(pkg, { recursive: true, force: true });
  mkdirSync(pkg, { recursive: true });
  const manifest = join(root, "wasm", "bindgen", "Cargo.toml");
  run("cargo", [
    ...["run", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", join(folder, "tools"), "--"],
    ...[join(folder, target, "wasm", "foveate_wasm.wasm"), pkg],
  ]);
  const [file, optimised] = [join(pkg, "foveate_bg.wasm"), join(pkg, "optimised.wasm")];
  // Higher levels are no faster, and larger once they are compressed.
  tool("binaryen", "wasm-opt", [file, "-o", optimised, "-O1", "--strip-debug"]);
  renameSync(optimised, file);
  const gzipped = gzipSync(readFileSync(file), { level: 9 }).length;
  console.log(`wasm: ${statSync(file).size} bytes, ${gzipped} gzipped`);
}

if (!process.argv.includes("--only-ts")) wasm();
rmSync(join(web, "dist"), { recursive: true, force: true });
tool("typescript", "tsc", []);
