// Shared by all widgets of the book: this text stands in front of each widget's own script.
// Data only ever becomes text nodes and attributes, never markup: it may come from strangers.

// An element with attributes, listeners (values that are functions) and what is inside it.
function h(tag, settings = {}, ...inside) {
  const drawn = tag === "svg" || tag === "path";
  const node = drawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...inside);
  return node;
}

// Change some of the model's values, and tell the kernel if there is one.
function put(model, changes) {
  for (const [name, value] of Object.entries(changes)) model.set(name, value);
  model.save_changes();
}

// Draw now and whenever one of these values changes; returns the function that stops it.
function follow(model, names, draw) {
  const events = names.map((name) => `change:${name}`);
  events.forEach((event) => model.on(event, draw));
  draw();
  return () => events.forEach((event) => model.off(event, draw));
}

// Write text only where it changed, so that a screen reader does not say it twice.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// The sentence that says what the picture shows now; room is kept for the longest, so nothing moves.
function speaker(longest = "") {
  const say = h("p", { "aria-live": "polite" });
  return { say, box: h("div", { class: "fm-say fm-stack" }, say, h("p", { class: "fm-under", "aria-hidden": "true" }, longest)) };
}

const longest = (texts) => texts.reduce((most, text) => (text.length > most.length ? text : most), "");

// One of several choices, as radio buttons: arrow keys, focus and names come with them.
function radios(legend, kind, labels, pick) {
  const name = `fm${Math.random().toString(36).slice(2)}`;
  const inputs = labels.map((_, i) => h("input", { type: "radio", name, change: () => pick(i) }));
  const choices = labels.map((label, i) => h("label", { class: "fm-choice" }, inputs[i], ...label));
  return { inputs, choices, box: h("fieldset", { class: kind }, h("legend", {}, legend), ...choices) };
}

const quoted = (text) => `“${text}”`;
const percent = (share) => `${Math.round(100 * share)}\u202f%`;
const listed = (words) => words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
const counted = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;
