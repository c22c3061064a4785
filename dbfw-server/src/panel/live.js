// Keeps the parts of a page that are marked data-live as they are on the server. Everything works
// without it.

const parts = () => [...document.querySelectorAll("[data-live]")];

// The text of an element that may have the focus, to find it again.
const mark = (element) =>
  element?.closest("[data-live]") ? (element.getAttribute("href") ?? element.id) : null;

let wanted = false;
let busy = false;

async function refresh() {
  wanted = true;
  if (busy) return;
  busy = true;
  try {
    while (wanted) {
      wanted = false;
      const answer = await fetch(location.href, { redirect: "error" });
      if (!answer.ok) return;
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
  } catch {
    // Logged out, or no server: the page stays as it was, and says so.
    state("not up to date");
  } finally {
    busy = false;
  }
}

function show(fresh) {
  const focus = mark(document.activeElement);
  for (const part of parts()) {
    const next = fresh.getElementById(part.id);
    if (!next || next.isEqualNode(part)) continue;
    // Somebody writes in it: what they wrote is worth more.
    if (part.contains(document.activeElement) && document.activeElement.matches("input")) continue;
    part.replaceWith(document.adoptNode(next));
  }
  if (focus && document.activeElement === document.body) {
    const again = parts().flatMap((part) => [...part.querySelectorAll("a, button, input, select")]);
    again.find((element) => (element.getAttribute("href") ?? element.id) === focus)?.focus();
  }
  state("live");
}

function state(text) {
  const line = document.getElementById("live");
  if (!line) return;
  if (!line.hidden && line.textContent === text) return;
  line.hidden = false;
  line.dataset.state = text;
  line.textContent = text;
}

let events = null;

// A browser has few connections to one server, so that a page nobody sees keeps none.
function follow() {
  if (document.hidden || !parts().length) {
    events?.close();
    events = null;
    return;
  }
  if (events) return;
  events = new EventSource("/events");
  let known = false;
  events.addEventListener("open", () => {
    // What happened before this is not told: look.
    if (known) refresh();
    known = true;
    state("live");
  });
  events.addEventListener("error", () => {
    state("not up to date");
    if (events?.readyState === EventSource.CLOSED) events = null;
  });
  events.addEventListener("message", ({ data }) => {
    const [name] = data.split(":");
    const concerns = ({ dataset }) =>
      dataset.live.split(" ").some((topic) => topic === data || topic === name);
    if (parts().some(concerns)) refresh();
  });
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && parts().length) refresh();
  follow();
});
follow();

for (const field of document.querySelectorAll("[data-select]")) {
  field.addEventListener("focus", () => field.select());
}
document.querySelector(".problem[tabindex]")?.focus();
