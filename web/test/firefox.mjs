// Drives Firefox over Marionette, its built-in protocol, without further tools.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const executable = process.env.FIREFOX ?? "/usr/bin/firefox-esr";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Starts a headless Firefox; returns its page: `goto(url)`, `evaluate(work, argument)`, `close()`. */
export async function launch() {
  const profile = mkdtempSync(join(tmpdir(), "foveate-firefox-"));
  // Port 0 lets the system choose; Firefox writes the port into its profile.
  writeFileSync(join(profile, "user.js"), 'user_pref("marionette.port", 0);\n');
  const process_ = spawn(executable, ["--headless", "--no-remote", "--marionette", "--profile", profile], { stdio: "ignore" });
  const exited = new Promise((done) => process_.once("exit", done));
  const close = async () => {
    process_.kill();
    await exited;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const marionette = await open(await port(profile, exited));
    await marionette("WebDriver:NewSession", {});
    await marionette("WebDriver:SetTimeouts", { script: 300_000, pageLoad: 60_000 });
    const evaluate = async (work, argument) => {
      const script = `const done = arguments[arguments.length - 1];
        (${work})(arguments[0]).then((value) => done({ value }), (error) => done({ error: String(error.stack ?? error) }));`;
      const { value } = await marionette("WebDriver:ExecuteAsyncScript", { script, args: [argument], sandbox: null });
      if (value.error) throw new Error(value.error);
      return value.value;
    };
    return { goto: (url) => marionette("WebDriver:Navigate", { url }), evaluate, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function port(profile, exited) {
  let gone = false;
  exited.then(() => (gone = true));
  for (let tries = 0; tries < 600 && !gone; tries++) {
    try {
      const text = readFileSync(join(profile, "MarionetteActivePort"), "utf8").trim();
      if (text) return Number(text);
    } catch {
      // The file does not exist yet.
    }
    await pause(100);
  }
  throw new Error(gone ? `${executable} ended` : `${executable} did not open a port`);
}

/** Messages are `LENGTH:JSON`; a command is `[0, id, name, parameters]`, an answer `[1, id, error, result]`. */
function open(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    const waiting = new Map();
    let [count, rest] = [0, Buffer.alloc(0)];
    const command = (name, parameters) =>
      new Promise((resolve, reject) => {
        waiting.set(++count, { resolve, reject });
        const body = Buffer.from(JSON.stringify([0, count, name, parameters]));
        socket.write(`${body.length}:`);
        socket.write(body);
      });
    const message = (value) => {
      // The first message is a greeting.
      if (!Array.isArray(value)) return resolve(command);
      const [, id, error, result] = value;
      const { resolve: done, reject: failed } = waiting.get(id);
      waiting.delete(id);
      if (error) failed(new Error(`${error.error}: ${error.message}`));
      else done(result);
    };
    socket.on("data", (data) => {
      rest = Buffer.concat([rest, data]);
      for (let colon; (colon = rest.indexOf(":")) > 0; ) {
        const end = colon + 1 + Number(rest.subarray(0, colon));
        if (rest.length < end) return;
        const text = rest.subarray(colon + 1, end).toString();
        rest = rest.subarray(end);
        message(JSON.parse(text));
      }
    });
    socket.on("error", reject);
    socket.on("close", () => {
      for (const { reject } of waiting.values()) reject(new Error("Firefox closed the connection"));
    });
  });
}
