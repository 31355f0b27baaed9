/**
 * The chat page: what is written goes to this server's own API, what comes is shown as it comes, as text and never as markup.
 * Plain browser JavaScript: no build, nothing from elsewhere. Talks are kept in this page alone; the key in this tab.
 */
const byId = (id) => document.getElementById(id);
const log = byId("log");
const input = byId("input");
const send = byId("send");
const status = byId("status");

/** What was said: {role, content}. In the text mode: nothing, each text is alone. */
let messages = [];
/** Of the answer under way. */
let controller = null;
let model = null;

const keyInput = byId("key");
keyInput.value = sessionStorage.getItem("key") ?? "";
keyInput.addEventListener("change", () => {
  sessionStorage.setItem("key", keyInput.value);
  connect();
});

const headers = () => ({
  "content-type": "application/json",
  ...(keyInput.value ? { authorization: `Bearer ${keyInput.value}` } : {}),
});

/** The error's own words, where the answer has them. */
async function explain(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `the server answered ${response.status}`;
  }
}

async function connect() {
  try {
    const response = await fetch("/v1/models", { headers: headers() });
    if (!response.ok) {
      byId("model").textContent = await explain(response);
      if (response.status === 401) showSettings(true);
      return;
    }
    [model] = (await response.json()).data;
  } catch {
    byId("model").textContent = "the server cannot be reached";
    return;
  }
  const { chat, context_length: context } = model.meta;
  byId("model").textContent = `${model.id} · context of ${context.toLocaleString("en")} tokens`;
  document.title = `${model.id} · bitnet.ts`;
  if (!chat) byId("mode").value = "text";
  byId("mode-field").hidden = !chat;
  byId("max-tokens").max = model.meta.max_tokens;
  byId("max-tokens").value = Math.min(Number(byId("max-tokens").value), model.meta.max_tokens);
  showMode();
}

function showMode() {
  const chat = byId("mode").value === "chat";
  byId("system-field").hidden = !chat;
  input.placeholder = chat ? "Ask something" : "Begin a text, and the model goes on";
  byId("hint").textContent = chat
    ? "Talk with the model. Nothing that you write leaves this server."
    : "This model continues texts: write a beginning. Nothing that you write leaves this server.";
}

function showSettings(shown = byId("settings").hidden) {
  byId("settings").hidden = !shown;
  byId("open-settings").setAttribute("aria-expanded", String(shown));
}

/** A message's box: where text goes, and what stands below it. */
function addMessage(kind) {
  byId("hint").hidden = true;
  const article = document.createElement("article");
  article.className = `message ${kind}`;
  const text = document.createElement("p");
  const footer = document.createElement("footer");
  article.append(text, footer);
  footer.hidden = true;
  log.append(article);
  follow(true);
  return { article, text, footer };
}

/** Stays at the end, unless the reader has scrolled up. */
function follow(always = false) {
  if (always || log.scrollHeight - log.scrollTop - log.clientHeight < 80) log.scrollTop = log.scrollHeight;
}

function settings() {
  const number = (id) => (byId(id).value === "" ? undefined : Number(byId(id).value));
  return {
    temperature: number("temperature"),
    top_p: number("top-p"),
    max_tokens: number("max-tokens"),
    seed: number("seed"),
    stream: true,
    stream_options: { include_usage: true },
  };
}

/** The data of a stream of server-sent events, one by one, until [DONE]. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: ?/, "");
      if (data === "[DONE]") return;
      const parsed = JSON.parse(data);
      if (parsed.error) throw new Error(parsed.error.message);
      yield parsed;
    }
  }
}

async function answer(box, body, path, given) {
  const begun = performance.now();
  let text = "";
  let usage = null;
  let finish = null;
  const shown = document.createTextNode("");
  if (given) {
    const start = document.createElement("span");
    start.className = "given";
    start.textContent = given;
    box.text.append(start);
  }
  box.text.append(shown);
  controller = new AbortController();
  setBusy(true);
  box.article.classList.add("busy");
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: headers(),
      body: JSON.stringify({ model: model?.id, ...settings(), ...body }),
      signal: controller.signal,
    });
    if (!response.ok) throw new Error(await explain(response));
    for await (const chunk of eventsOf(response)) {
      usage = chunk.usage ?? usage;
      const [choice] = chunk.choices;
      if (!choice) continue;
      finish = choice.finish_reason ?? finish;
      const more = choice.delta ? (choice.delta.content ?? "") : choice.text;
      text += more;
      shown.data += more;
      follow();
    }
  } catch (error) {
    if (error.name === "AbortError") finish = "stopped";
    else {
      const wrong = addMessage("wrong");
      wrong.text.textContent = error.message;
      if (text === "") box.article.remove();
    }
  } finally {
    controller = null;
    box.article.classList.remove("busy");
    setBusy(false);
  }
  showFacts(box, { usage, finish, ms: performance.now() - begun, text: `${given}${text}` });
  return { text, finish };
}

function showFacts({ footer }, { usage, finish, ms, text }) {
  const facts = document.createElement("span");
  const parts = [];
  if (usage) {
    const seconds = ms / 1000;
    parts.push(`${usage.completion_tokens} tokens in ${seconds.toFixed(1)} s`);
  }
  if (finish === "length") parts.push("as many as asked for");
  if (finish === "stopped") parts.push("stopped");
  facts.textContent = parts.join(" · ");
  const copy = document.createElement("button");
  copy.type = "button";
  copy.textContent = "Copy";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
    setTimeout(() => {
      copy.textContent = "Copy";
    }, 1500);
  });
  footer.append(facts, copy);
  footer.hidden = false;
  follow();
}

function setBusy(busy) {
  send.textContent = busy ? "Stop" : "Send";
  send.classList.toggle("primary", !busy);
  status.textContent = busy ? "writing …" : "";
}

async function submit() {
  if (controller) return controller.abort();
  const text = input.value;
  if (text.trim() === "") return;
  input.value = "";
  if (byId("mode").value === "text") {
    await answer(addMessage("assistant"), { prompt: text }, "/v1/completions", text);
  } else {
    addMessage("user").text.textContent = text;
    messages.push({ role: "user", content: text });
    const system = byId("system").value.trim();
    const all = [...(system ? [{ role: "system", content: system }] : []), ...messages];
    const asked = messages;
    const said = await answer(addMessage("assistant"), { messages: all }, "/v1/chat/completions", "");
    // A question that got no answer was not asked; a talk that was begun anew meanwhile stays as it is.
    if (asked === messages) {
      if (said.finish === null && said.text === "") messages.pop();
      else messages.push({ role: "assistant", content: said.text });
    }
  }
  input.focus();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
input.addEventListener("keydown", (event) => {
  // Not amid a word that an input method is still composing.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!controller) submit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") controller?.abort();
});
byId("new").addEventListener("click", () => {
  controller?.abort();
  messages = [];
  for (const article of [...log.querySelectorAll("article")]) article.remove();
  byId("hint").hidden = false;
  input.focus();
});
byId("open-settings").addEventListener("click", () => showSettings());
byId("mode").addEventListener("change", showMode);
connect();
