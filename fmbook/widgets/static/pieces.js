const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

// A piece as text: a space is seen, and bytes that are no whole character are written as numbers.
function shown(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
    return text.replaceAll(" ", "\u00b7").replaceAll("\n", "↵").replaceAll("\t", "→");
  } catch {
    return bytes.map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ");
  }
}

function render({ model, el }) {
  const merges = model.get("merges"), texts = model.get("texts"), steps = model.get("steps");
  const bytes = Array.from({ length: 256 }, (_, byte) => [byte]), rank = new Map();
  const key = (a, b) => a * 65536 + b;
  const made = [], known = new Map(); // merge -> id; two merges may make the same piece
  merges.forEach(([a, b], i) => {
    bytes.push([...bytes[a], ...bytes[b]]);
    const text = String(bytes.at(-1));
    if (!known.has(text)) known.set(text, 256 + i);
    made.push(known.get(text));
    if (!rank.has(key(a, b))) rank.set(key(a, b), i);
  });

  // Replay: of all pairs in a word the one merged first is joined, until none was merged.
  function word(ids, count) {
    for (;;) {
      let first = count;
      for (let i = 1; i < ids.length; i++) first = Math.min(first, rank.get(key(ids[i - 1], ids[i])) ?? count);
      if (first === count) return ids;
      const out = [], [a, b] = merges[first];
      for (let i = 0; i < ids.length; i++) {
        const both = ids[i] === a && i + 1 < ids.length && ids[i + 1] === b;
        out.push(both ? made[first] : ids[i]);
        if (both) i++;
      }
      ids = out;
    }
  }
  const encode = (text, count) => (text.match(WORDS) ?? []).flatMap((each) => word([...new TextEncoder().encode(each)], count));

  const typed = h("input", { type: "text", maxlength: 80, spellcheck: "false", "aria-label": "Text to cut", input: () => put(model, { text: typed.value }) });
  const offered = h("select", { change: () => { if (+offered.value >= 0) put(model, { text: texts[+offered.value] }); } },
    h("option", { value: -1 }, "pick a text"), ...texts.map((text, i) => h("option", { value: i }, text)));
  const number = (count) => count.toLocaleString("en");
  const choice = radios("Merges", "fm-row fm-steps", steps.map((count) => [number(count)]), (i) => put(model, { step: i }));
  const cut = h("p", { class: "fm-cut", "aria-hidden": "true" });

  function sentence(text, count) {
    const ids = encode(text, count), n = [...text].length;
    if (!ids.length) return "There is no text to cut.";
    const most = ids.reduce((best, id) => (bytes[id].length > bytes[best].length ? id : best), ids[0]);
    return `With ${counted(count, "merge").replace(String(count), number(count))}, ${counted(n, "character")} are ${counted(ids.length, "piece")}, ${(n / ids.length).toFixed(1)} characters a piece; the longest is ${quoted(shown(bytes[most]))}.`;
  }

  const { say, box } = speaker(longest(texts.flatMap((text) => steps.map((count) => sentence(text, count)))));
  el.append(h("div", { class: "fm-root fm-pieces", role: "group", "aria-label": model.get("alt") },
    h("div", { class: "fm-row" }, typed, h("label", {}, "or ", offered)), choice.box, box, cut));

  return follow(model, ["text", "step"], () => {
    const text = model.get("text"), step = model.get("step");
    if (typed.value !== text) typed.value = text;
    offered.value = texts.indexOf(text);
    choice.inputs.forEach((input, i) => { input.checked = i === step; });
    cut.replaceChildren(...encode(text, steps[step]).map((id) => h("span", { class: bytes[id].length > 1 ? "fm-made" : "" }, shown(bytes[id]))));
    write(say, sentence(text, steps[step]));
  });
}

export default { render };
