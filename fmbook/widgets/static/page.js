// The page's side of a widget without a kernel: a model that only holds values and tells of changes.
function pageModel(values) {
  const listeners = {};
  return {
    get: (name) => values[name],
    set(name, value) {
      if (values[name] === value) return;
      values[name] = value;
      for (const listener of listeners[`change:${name}`] ?? []) listener();
    },
    save_changes() {},
    on(event, listener) { (listeners[event] ??= new Set()).add(listener); },
    off(event, listener) { listeners[event]?.delete(listener); },
  };
}

function unpacked({ state, bytes }) {
  const values = { ...state };
  for (const [name, text] of Object.entries(bytes)) {
    const raw = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    values[name] = new DataView(raw.buffer);
  }
  return values;
}

// Put the widget in the place of its picture. Equal widgets share a key, so any may wake another.
function wake(key, widget) {
  for (const host of document.querySelectorAll(`[data-fm="${key}"]:not([data-awake])`)) {
    const data = JSON.parse(host.querySelector("[type='application/json']").textContent);
    const el = h("div");
    widget.render({ model: pageModel(unpacked(data)), el });
    host.querySelector(".fm-still").replaceWith(el);
    host.dataset.awake = "";
  }
}
