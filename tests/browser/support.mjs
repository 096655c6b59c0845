// A simulated site, a service on a fresh data directory, and a browser that notes what must not happen.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const root = path.resolve(import.meta.dirname, "../..");
const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target");
const screenshots = path.join(target, "browser-screenshots");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const viewports = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } };

/** Starts a program; gives its lines as they come. */
function start(program, options, environment = {}) {
  const child = spawn(path.join(target, "debug", program), options, {
    env: { ...process.env, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const seen = [];
  const waiting = [];
  const take = (line) => {
    seen.push(line);
    waiting.splice(0).forEach((wake) => wake());
  };
  createInterface({ input: child.stdout }).on("line", take);
  createInterface({ input: child.stderr }).on("line", take);
  child.on("exit", () => take(`${program} ended`));
  child.on("error", (error) => {
    throw new Error(`${program} cannot be started; make build builds it`, { cause: error });
  });
  let read = 0;
  /** The first line from here on in which the pattern is found. */
  const line = async (pattern) => {
    for (;;) {
      while (read < seen.length) {
        const found = seen[read++].match(pattern);
        if (found) return found;
      }
      assert.equal(child.exitCode, null, `${program} ended:\n${seen.join("\n")}`);
      await new Promise((wake) => waiting.push(wake));
    }
  };
  const stop = () =>
    new Promise((ended) => {
      if (child.exitCode !== null || child.signalCode !== null) return ended();
      child.on("exit", ended);
      child.kill("SIGTERM");
    });
  return { line, stop, write: (text) => child.stdin.write(text + "\n") };
}

/** A simulated Confluence site. */
export async function startSite(options = []) {
  const site = start("confluence-site", options);
  const baseUrl = (await site.line(/^base URL +(\S+)/))[1];
  const account = (await site.line(/^email +(\S+)/))[1];
  const token = (await site.line(/^API token +(\S+)/))[1];
  await site.line(/Ctrl-C/);
  const tell = async (command) => {
    site.write(command);
    return (await site.line(/.*/))[0];
  };
  return { baseUrl, account, token, tell, stop: site.stop };
}

/** The service, with its first key. */
export async function startService() {
  const directory = mkdtempSync(path.join(tmpdir(), "kai-browser-"));
  const service = start(
    "kai",
    ["serve", "--allow-local", "--listen", "127.0.0.1:0", "--data", path.join(directory, "data")],
    { XDG_CONFIG_HOME: path.join(directory, "configuration"), KAI_MASTER_KEY: undefined, KAI_API_TOKEN: undefined },
  );
  const address = (await service.line(/the service is at (http\S+)/))[1];
  const key = (await service.line(/not shown again: (kai_\S+)/))[1];
  const stop = async () => {
    await service.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  return { address, key, stop };
}

export async function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Where the tests are run by root, as in a container, chromium has no sandbox of its own.
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
}

/** A page of a new profile. `alarms` is what must stay empty: scripts that ran, dialogs, breaches of the policy, errors. */
export async function openPage(browser, service, options = {}) {
  const context = await browser.newContext({ baseURL: service.address, viewport: viewports.desktop, ...options });
  context.setDefaultTimeout(15000);
  const page = await context.newPage();
  const alarms = [];
  await page.exposeFunction("reportAlarm", (text) => void alarms.push(text));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      window.reportAlarm(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
    window.hacked = (what) => window.reportAlarm(`script ran: ${what}`);
  });
  page.on("dialog", (dialog) => {
    alarms.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("pageerror", (error) => alarms.push(`error: ${error.message}`));
  page.on("console", (message) => {
    // A refused form is a page with its own status, which browsers tell, too.
    if (message.type() === "error" && !/status of (4\d\d|502)/.test(message.text())) alarms.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(service.address)) alarms.push(`request: ${request.url()}`);
  });
  return { page, context, alarms };
}

export async function signIn(page, service) {
  await page.goto("/sign-in");
  await page.getByLabel("Key").fill(service.key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Sources", level: 1 }).waitFor();
}

/** Fills in the form that registers a source. */
export async function describeSource(page, source) {
  await page.getByLabel("Site").fill(source.baseUrl);
  await page.getByLabel("Email address of the account").fill(source.account);
  await page.getByLabel("API token of the account").fill(source.token);
  if (source.schedule !== undefined) await page.getByLabel("Schedule").selectOption(source.schedule);
}

/** Looks at the page in light and dark, on a phone and a desktop: nothing is wider than the screen, no rule is broken. */
export async function inspect(page, name) {
  mkdirSync(screenshots, { recursive: true });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const [device, viewport] of Object.entries(viewports)) {
      await page.setViewportSize(viewport);
      // Until it is drawn in its new size.
      await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
      await page.screenshot({ path: path.join(screenshots, `${name}-${device}-${colorScheme}.png`), fullPage: true });
      const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      assert.ok(wide <= room, `${name} is ${wide} wide on a ${device}`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      const told = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html}\n${failureSummary}`).join("\n")}`);
      assert.deepEqual(told, [], `${name}, ${device}, ${colorScheme}`);
    }
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: null });
}

/** Waits until no run of the source that is shown is under way. */
export async function runEnded(page) {
  await page.locator(".under-way, .state.running, .state.waiting").first().waitFor({ state: "detached", timeout: 60000 });
}
