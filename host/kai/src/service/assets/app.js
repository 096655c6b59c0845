"use strict";
// What the pages do by themselves while one looks at them. Without it they work, too.

const byId = (id) => document.getElementById(id);
const find = (selector) => document.querySelector(selector);
const announce = (text) => { byId("announcement").textContent = text; };
const grouped = (number) => number.toLocaleString("en-US");

// Moments, as how long ago they are.
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function showTimes() {
  for (const time of document.querySelectorAll("time")) {
    const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
    time.title ||= time.textContent;
    // Longer ago the day says more.
    if (!(Math.abs(seconds) < 30 * 86400)) continue;
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? units[3];
    time.textContent = Math.abs(seconds) < 10 ? "just now" : relative.format(Math.round(seconds / size), unit);
  }
}

// The parts of the page that change, asked for anew. What is typed elsewhere stays.
async function refresh() {
  const response = await fetch(find("[data-refresh]").dataset.refresh || location.href, { headers: { accept: "text/html" } });
  if (response.redirected) return location.reload();
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const region of document.querySelectorAll("[data-region]")) {
    const now = fresh.getElementById(region.id);
    if (!now || now.innerHTML === region.shown) continue;
    const focused = region.contains(document.activeElement) && document.activeElement.id;
    // As it came: times in it are shown otherwise.
    region.shown = now.innerHTML;
    region.replaceChildren(...now.childNodes);
    if (focused) byId(focused)?.focus();
  }
  showTimes();
  follow();
}

async function keepFresh() {
  while (find("[data-refresh]")) {
    const soon = find(".state.waiting, .state.running");
    await new Promise((wake) => setTimeout(wake, soon ? 1500 : 10000));
    // The service may be about to start again.
    if (!document.hidden && !following) await refresh().catch(() => {});
  }
}

// A run under way, told by the service as it comes along.
let following = false;

function follow() {
  const panel = find("[data-events]");
  if (!panel || following) return;
  following = true;
  const stream = new EventSource(panel.dataset.events);
  let quarter = 0;
  const end = (text) => {
    stream.close();
    following = false;
    refresh().catch(() => {}).then(() => text && announce(text));
  };
  stream.addEventListener("progress", (event) => {
    const run = JSON.parse(event.data);
    // The page shows how it waits.
    if (run.state === "running" && panel.dataset.state === "queued") return end();
    const { done, expected } = show(panel, run);
    const reached = expected ? Math.floor((4 * done) / expected) : 0;
    if (reached > quarter) announce(`${grouped(done)} of ${grouped(expected)} pages`);
    quarter = Math.max(reached, quarter);
  });
  stream.addEventListener("end", (event) => end("The run is " + JSON.parse(event.data).state));
  stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED) end(); });
}

function show(panel, run) {
  const field = (name) => panel.querySelector(`[data-field=${name}]`);
  const set = (name, text) => { field(name).textContent = text; };
  const of = (number, all) => grouped(number) + (all ? " of " + grouped(all) : "");
  const { documents: counts, expected } = run;
  const done = counts.upserted + counts.unchanged + counts.failed;
  if (expected) Object.assign(field("bar"), { max: expected, value: Math.min(done, expected) });
  set("mode", run.mode ?? "–");
  set("pages", of(done, expected));
  set("rate", run.pages_per_second.toFixed(1));
  set("spaces", of(run.spaces_ended, run.spaces));
  set("written", grouped(counts.upserted));
  set("failed", grouped(counts.failed));
  set("paused", run.paused_until && new Date(run.paused_until).toLocaleTimeString());
  set("confirming", grouped(run.confirming));
  field("paused").parentNode.hidden = !run.paused_until;
  field("confirming").parentNode.hidden = !run.confirming;
  field("failures").replaceChildren(...run.failures.map(({ space_key, detail }) => {
    const item = document.createElement("li");
    item.textContent = `Space ${space_key}: ${detail}`;
    return item;
  }));
  return { done, expected };
}

// Whether what is typed so far is good, asked of Confluence by the service.
function validateWhileTyping(form) {
  const names = ["base_url", "email", "api_token", "space_key", "cloud_id"];
  const { kind, base_url, email, api_token, tenant_id } = form.elements;
  let timer, asked, last;
  const told = (name, text) => {
    const error = byId(name + "-error");
    error.textContent = text;
    error.hidden = !text;
    byId(name).toggleAttribute("aria-invalid", !!text);
    if (text) byId(name).setAttribute("aria-invalid", "true");
  };
  const check = (text, good) => {
    byId("check").textContent = text;
    byId("check").classList.toggle("good", !!good);
  };
  async function ask() {
    const body = { kind: kind.value, tenant_id: tenant_id?.value };
    for (const name of names) body[name] = form.elements[name].value.trim();
    const complete = [base_url, email, api_token].every((input) => input.validity.valid);
    const question = JSON.stringify(body);
    if (!complete || question === last) return;
    last = question;
    asked = new AbortController();
    check("Asking Confluence…");
    try {
      const response = await fetch("/api/v1/validations", {
        method: "POST", headers: { "content-type": "application/json" }, body: question, signal: asked.signal,
      });
      if (response.status === 401) return location.reload();
      const answer = await response.json();
      for (const name of names) told(name, "");
      if (response.ok) return check("Good: " + answer.scope, true);
      // The name of a field stays as it is.
      const detail = answer.detail.replace(/^[a-z](?=[a-z]*:? )/, (letter) => letter.toUpperCase());
      const named = names.includes(answer.field);
      check(named ? "" : detail);
      if (!named) return;
      told(answer.field, detail);
      announce(detail);
      byId(answer.field).closest("details")?.setAttribute("open", "");
    } catch (error) {
      last = "";
      if (error.name !== "AbortError") check("The service cannot be asked now.");
    }
  }
  form.addEventListener("input", () => {
    clearTimeout(timer);
    asked?.abort();
    check("");
    timer = setTimeout(ask, 800);
  });
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

// What was just done is told once, not again by each reload.
const address = new URL(location.href);
if (address.searchParams.has("done")) {
  address.searchParams.delete("done");
  history.replaceState(null, "", address);
}

document.querySelectorAll("form[data-validate]").forEach(validateWhileTyping);
showTimes();
setInterval(showTimes, 15000);
follow();
keepFresh();
