// What people do with the service, from the first key to signing out.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { describeSource, inspect, openPage, runEnded, signIn, startBrowser, startService, startSite } from "./support.mjs";

let site, service, browser;

before(async () => {
  site = await startSite(["--pages", "1500", "--latency-ms", "100"]);
  service = await startService();
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await service?.stop();
  await site?.stop();
});

test("a source is registered, synced, read, given another token, and left", async () => {
  const { page, context, alarms } = await openPage(browser, service);

  // Nobody is let in without a key, and one comes back to where one wanted to go.
  await page.goto("/documents?q=plan");
  assert.equal(new URL(page.url()).pathname, "/sign-in");
  await inspect(page, "sign-in");
  await page.getByLabel("Key").fill("kai_wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("The key is not one of this service").waitFor();
  await inspect(page, "sign-in-refused");
  await page.getByLabel("Key").fill(service.key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/documents?q=plan");
  await inspect(page, "documents-nothing");
  await page.goto("/");
  await page.getByText("No source yet").waitFor();
  await inspect(page, "sources-empty");

  // A wrong token is told at its field while one types.
  await page.getByRole("link", { name: "Register a source" }).click();
  assert.equal(await page.title(), "Register a source · kai");
  await inspect(page, "register");
  await describeSource(page, { ...site, token: "wrong-token", schedule: "" });
  const token = page.getByLabel("API token of the account");
  const error = page.locator("#api_token-error");
  await error.filter({ hasText: /credential|token/i }).waitFor();
  assert.equal(await token.getAttribute("aria-invalid"), "true");
  assert.ok((await token.getAttribute("aria-describedby")).includes("api_token-error"));
  await inspect(page, "register-wrong-token");
  await page.getByRole("button", { name: "Register" }).click();
  await error.filter({ hasText: /credential|token/i }).waitFor();
  assert.equal(await page.getByLabel("Site").inputValue(), site.baseUrl);
  assert.equal(await token.inputValue(), "");
  await token.fill(site.token);
  await page.getByText(`Good: every visible space of ${site.baseUrl}`).waitFor();
  assert.equal(await token.getAttribute("aria-invalid"), null);
  await inspect(page, "register-good");
  await page.getByRole("button", { name: "Register" }).click();
  await page.getByText("The source is registered").waitFor();
  await inspect(page, "source-new");

  // A run is watched to its end.
  await site.tell("latency 2500");
  await page.getByRole("button", { name: "Sync now" }).click();
  await page.getByRole("heading", { name: /is under way/ }).waitFor();
  await page.locator("[data-field=pages]").filter({ hasText: /[1-9]/ }).waitFor();
  await inspect(page, "source-running");
  await site.tell("latency 0");
  await runEnded(page);
  await page.locator("#announcement").filter({ hasText: "completed" }).waitFor({ state: "attached" });
  await page.locator("#now").getByRole("link", { name: "1,500" }).waitFor();

  // What fails is told, with its cause.
  const broken = await site.tell(
    `page ${JSON.stringify({ space_key: "ENG", title: "Capacity plan", storage: "<p>Never to be had</p>" })}`);
  await site.tell(`break ${broken.split(" ")[1]}`);
  await site.tell("rate-limit 2");
  await site.tell("edit 40");
  await page.getByRole("button", { name: "Sync now" }).click();
  await runEnded(page);
  await page.getByRole("heading", { name: "1 page could not be had" }).waitFor();
  const link = page.getByRole("link", { name: /Capacity plan|^\d+$/ }).last();
  assert.match(await link.getAttribute("href"), /^http:\/\/127\.0\.0\.1:\d+\/wiki\/pages\//);

  // More than is removed without asking is asked for.
  await site.tell("trash 400");
  await page.getByRole("button", { name: "Full sync" }).click();
  await page.getByText(/^400 of 1500 documents are gone/).first().waitFor();
  await inspect(page, "source-removals-refused");
  await page.getByRole("button", { name: "Confirm the removals" }).click();
  await runEnded(page);
  await page.locator("#now").getByRole("link", { name: "1,100" }).waitFor();
  for (let more = 0; more < 4; more++) {
    await site.tell(`edit ${10 * (more + 1)}`);
    await page.getByRole("button", { name: "Sync now" }).click();
    await runEnded(page);
  }
  await page.getByRole("button", { name: "Validate again" }).click();
  await page.getByText("The credential is good").waitFor();
  await inspect(page, "source");
  await page.goto("/");
  await page.getByText("1,100", { exact: true }).first().waitFor();

  // A run under way is seen among the sources, too; and it is cancelled.
  await page.getByRole("link", { name: /^127\.0\.0\.1/ }).click();
  await site.tell("latency 1500");
  await page.getByRole("button", { name: "Full sync" }).click();
  await page.goto("/");
  await page.locator(".brief progress").waitFor();
  await inspect(page, "sources");
  await page.getByRole("link", { name: /^127\.0\.0\.1/ }).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await runEnded(page);
  await page.getByText("Cancelled").first().waitFor();
  await site.tell("latency 0");

  // Documents are searched and read.
  await site.tell(`page ${JSON.stringify({ space_key: "OPS", title: "Zeppelin handbook", storage: handbook })}`);
  await page.getByRole("button", { name: "Sync now" }).click();
  await runEnded(page);
  await page.goto("/documents");
  await inspect(page, "documents");
  await page.getByRole("link", { name: "Next page" }).click();
  await page.getByRole("link", { name: "First page" }).waitFor();
  await page.getByRole("searchbox", { name: "Search" }).fill("zeppelin moorings");
  // The index of words follows a little behind.
  for (let attempt = 0; attempt < 40; attempt++) {
    await page.getByRole("button", { name: "Search" }).click();
    await page.waitForURL(/q=zeppelin/);
    if (await page.getByRole("link", { name: "Zeppelin handbook" }).count()) break;
    await page.waitForTimeout(250);
  }
  assert.equal(await page.title(), "“zeppelin moorings” in documents · kai");
  await inspect(page, "documents-found");
  await page.getByRole("link", { name: "Zeppelin handbook" }).click();
  await page.getByRole("heading", { name: "Zeppelin handbook", level: 1 }).waitFor();
  assert.equal(await page.locator("h1").count(), 1);
  await page.locator(".markdown-alert").first().waitFor();
  assert.equal(await page.locator(".prose img").count(), 0);
  assert.equal(await page.getByRole("link", { name: "Mast", exact: true }).getAttribute("rel"), "noopener noreferrer nofollow");
  await inspect(page, "document");
  await page.getByRole("link", { name: "Markdown", exact: true }).click();
  await page.locator(".source-text").filter({ hasText: "# Zeppelin handbook" }).waitFor();
  await inspect(page, "document-markdown");

  // A wrong token changes nothing, a good one is taken.
  await page.getByRole("link", { name: /^127\.0\.0\.1/ }).click();
  await page.getByLabel("New API token").fill("wrong-token");
  await page.getByRole("button", { name: "Rotate the token" }).click();
  await error.filter({ hasText: /credential|token/i }).waitFor();
  await inspect(page, "source-wrong-token");
  await page.getByLabel("New API token").fill(site.token);
  await page.getByRole("button", { name: "Rotate the token" }).click();
  await page.getByText("The new token is good").waitFor();
  await page.getByLabel("Schedule").selectOption({ label: "Every hour" });
  await page.getByRole("button", { name: "Change the schedule" }).click();
  await page.getByText("The schedule is changed").waitFor();
  await page.getByLabel("Space key").fill("NOWHERE");
  await page.getByRole("button", { name: "Change the scope" }).click();
  await page.locator("#space_key-error").filter({ hasText: "NOWHERE" }).waitFor();

  // Tenants and keys.
  await page.getByRole("link", { name: "Keys", exact: true }).click();
  await page.getByLabel("Id of the new tenant").fill("acme");
  await page.getByLabel("Name of it").fill("Acme Inc.");
  await page.getByRole("button", { name: "Make a tenant" }).click();
  await page.getByText("The tenant is there").waitFor();
  await page.getByLabel("Name of the new key").fill("pipeline");
  await page.getByLabel("Lets in").selectOption("acme");
  await page.getByRole("button", { name: "Make a key" }).click();
  const made = await page.locator("#made-key").textContent();
  assert.match(made, /^kai_/);
  await inspect(page, "keys");
  await page.goto("/keys");
  assert.ok(!(await page.content()).includes(made));

  // The tenant sees nothing of others, and nothing at all when its key is gone.
  const other = await openPage(browser, service);
  await signIn(other.page, { key: made });
  await other.page.getByText("No source yet").waitFor();
  assert.equal(await other.page.getByRole("link", { name: "Keys" }).count(), 0);
  await other.page.goto("/keys");
  await other.page.getByRole("heading", { name: "Not allowed" }).waitFor();
  await inspect(other.page, "problem");
  await page.getByLabel("Revoke pipeline").click();
  await page.getByRole("button", { name: "Revoke for good" }).click();
  await page.getByText("The key lets in no longer").waitFor();
  await other.page.goto("/");
  await other.page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.deepEqual(other.alarms, []);
  await other.context.close();

  await page.goto("/api");
  await page.getByRole("heading", { name: /API of kai/ }).waitFor();
  await inspect(page, "api");
  await page.goto("/nowhere");
  await page.getByRole("heading", { name: "Not found" }).waitFor();

  // The whole of a form by the keyboard: from the skip link to the button that signs out.
  await page.goto("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => location.hash), "#main");
  const before = await context.cookies();
  await page.getByRole("button", { name: "Sign out" }).focus();
  await page.keyboard.press("Enter");
  await page.waitForURL("**/sign-in");
  await context.addCookies(before);
  await page.goto("/");
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.deepEqual(alarms, []);
  await context.close();
});

test("everything works without script", async () => {
  const { page, context, alarms } = await openPage(browser, service, { javaScriptEnabled: false });
  await signIn(page, service);
  await page.goto("/sources/new");
  await describeSource(page, { ...site, token: "wrong-token", schedule: "" });
  await page.getByLabel("Space key").fill("OPS");
  await page.getByRole("button", { name: "Register" }).click();
  await page.locator("#api_token-error").filter({ hasText: /credential|token/i }).waitFor();
  assert.equal(await page.getByLabel("Space key").inputValue(), "OPS");
  await page.getByLabel("API token of the account").fill(site.token);
  await page.getByRole("button", { name: "Register" }).click();
  await page.getByText("The source is registered").waitFor();
  await page.getByRole("button", { name: "Sync now" }).click();
  // The page loads itself again while a run is under way.
  await page.getByText("Completed").first().waitFor({ timeout: 20000 });
  await page.locator("#now").getByRole("link", { name: /^\d+$/ }).first().click();
  await page.locator(".documents a").first().click();
  await page.locator(".prose").waitFor();
  await page.getByLabel("About this document").getByRole("link", { name: /^127/ }).click();
  await page.getByText(/^Delete this source/).click();
  await page.getByLabel(/^Type 127/).fill("elsewhere");
  await page.getByRole("button", { name: "Delete the source" }).click();
  await page.getByText("Nothing was deleted").waitFor();
  await page.getByLabel(/^Type 127/).fill(new URL(site.baseUrl).host);
  await page.getByRole("button", { name: "Delete the source" }).click();
  await page.getByText("The source is gone").waitFor();
  assert.deepEqual(alarms, []);
  await context.close();
});

test("no other site acts for who is signed in, and no session is one that was known before", async () => {
  const { page, context } = await openPage(browser, service);
  await context.addCookies([{ name: "kai", value: "known-before", url: service.address }]);
  await signIn(page, service);
  const [cookie] = await context.cookies();
  assert.notEqual(cookie.value, "known-before");
  assert.ok(cookie.httpOnly && cookie.sameSite === "Strict");
  const name = `${cookie.name}=${cookie.value}`;
  for (const headers of [{ "sec-fetch-site": "cross-site" }, { "sec-fetch-site": "same-site" }, { origin: "http://evil.example" }, {}]) {
    for (const address of ["/sign-out", "/keys", "/tenants", "/sources/new", "/sign-in"]) {
      const body = new URLSearchParams({ key: service.key, name: "stolen", new_tenant_id: "x", tenant_name: "x" });
      const answer = await fetch(new URL(address, service.address), {
        method: "POST", redirect: "manual", body, headers: { cookie: name, accept: "text/html", ...headers },
      });
      assert.equal(answer.status, 403, `${address} ${JSON.stringify(headers)}`);
    }
  }
  await page.goto("/keys");
  await page.getByRole("heading", { name: "Keys", level: 1 }).waitFor();
  assert.equal(await page.getByText("stolen").count(), 0);
  for (const next of ["//evil.example", "/\\evil.example", "https://evil.example", "/%09/evil.example"]) {
    await page.goto(`/sign-in?next=${encodeURIComponent(next)}`);
    assert.equal(new URL(page.url()).origin, new URL(service.address).origin, next);
  }

  // Who tries keys is slowed down, by the form as by the API.
  const attempt = (key) => fetch(new URL("/sign-in", service.address), {
    method: "POST", redirect: "manual", body: new URLSearchParams({ key }), headers: { "sec-fetch-site": "same-origin" },
  });
  let refused;
  for (let tries = 0; tries < 20 && refused?.status !== 429; tries++) refused = await attempt("kai_guess");
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get("retry-after")) > 0);
  assert.match(await refused.text(), /Too many wrong keys/);
  // A good key is heard whatever else its address sent: behind a proxy, everybody has one address.
  assert.equal((await attempt(service.key)).status, 303);
  await context.close();
});

const handbook = `
<p>Everything about mooring a <strong>zeppelin</strong>. See the <a href="https://a.example/mast">Mast</a> and <em>moorings</em>.</p>
<h2>Before landing</h2>
<ac:structured-macro ac:name="info"><ac:rich-text-body><p>Two people hold the rope.</p></ac:rich-text-body></ac:structured-macro>
<ac:structured-macro ac:name="warning"><ac:rich-text-body><p>Never in a thunderstorm.</p></ac:rich-text-body></ac:structured-macro>
<ac:task-list><ac:task><ac:task-id>1</ac:task-id><ac:task-status>complete</ac:task-status><ac:task-body>Call the tower</ac:task-body></ac:task>
<ac:task><ac:task-id>2</ac:task-id><ac:task-status>incomplete</ac:task-status><ac:task-body>Lower the ropes</ac:task-body></ac:task></ac:task-list>
<h2>Winds</h2>
<table><tbody><tr><th>Force</th><th>What to do</th><th>Who decides</th><th>How many people hold the ropes on the ground</th><th>Remarks of last season</th></tr>
<tr><td>1 to 3</td><td><p>Moor</p><p>at once</p></td><td>the pilot</td><td>4</td><td>none</td></tr>
<tr><td>4 to 6</td><td>Circle</td><td>the pilot and the tower</td><td>12</td><td>twice in May</td></tr></tbody></table>
<h3>By program</h3>
<ac:structured-macro ac:name="code"><ac:parameter ac:name="language">python</ac:parameter><ac:plain-text-body><![CDATA[def moor(zeppelin, mast):
    while not mast.holds(zeppelin):
        zeppelin.lower(metres=1)  # slowly, and never more than the crew on the ground can take up in the time that it has
    return "moored"]]></ac:plain-text-body></ac:structured-macro>
<ac:image><ri:attachment ri:filename="mast.png" /></ac:image>
<blockquote><p>Who hurries lands twice.</p></blockquote>
<ol><li>Approach</li><li>Hold<ul><li>bow first</li><li>then the stern</li></ul></li></ol>`;
