const signed = (number) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(1)}`;

function render({ model, el }) {
  const words = model.get("words"), good = model.get("good"), prior = model.get("prior"), noun = model.get("noun");
  const side = (adds) => adds > 0 ? "spam" : "ham";
  const most = Math.max(...[...words, ...good].map((word) => Math.abs(word.adds)), 1e-9);

  // Each word is a box to tick: without the tick it is no longer in the mail.
  function chip(word, i) {
    const box = h("input", { type: "checkbox", change: () => toggle(i, box.checked) });
    const often = word.count > 1 ? ` × ${word.count}` : "";
    const bar = h("i", { class: `fm-bar fm-${side(word.adds)}`, style: `--from:0;--share:${Math.abs(word.adds) / most}` });
    return { box, item: h("li", {}, h("label", { class: "fm-choice fm-word" }, box,
      h("span", {}, word.word, often), h("small", { class: `fm-${side(word.adds)}` }, signed(word.adds)), bar)) };
  }
  function toggle(i, on) {
    const off = model.get("off").filter((other) => other !== i);
    put(model, { off: on ? off : [...off, i].sort((a, b) => a - b) });
  }
  const chips = words.map(chip);

  const paste = h("input", { type: "range", min: 0, max: good.length, step: 1, "aria-label": "Good words pasted below", input: () => put(model, { pasted: +paste.value }) });
  const count = h("output");
  const row = good.length ? [h("div", { class: "fm-row" }, h("span", {}, "Paste good words below"), paste, count),
    h("p", { class: "fm-pasted" })] : [];

  const sum = (off, pasted) => prior + words.reduce((total, word, i) => total + (off.includes(i) ? 0 : word.adds), 0)
    + good.slice(0, pasted).reduce((total, word) => total + word.adds, 0);
  function claim(score) {
    const sure = 1 / (1 + Math.exp(-Math.abs(score)));
    return sure > 0.9995 ? "above 99.9\u202f%" : `of ${(100 * sure).toFixed(1)}\u202f%`;
  }
  function sentence(off, pasted) {
    const score = sum(off, pasted), kind = score > 0 ? "spam" : "ham (wanted mail)";
    const more = pasted ? ` and ${counted(pasted, "good word")} pasted below` : "";
    return `${words.length - off.length} of ${counted(words.length, noun)}${more}: the log-odds are ${signed(score)}, so the filter says ${kind}, and claims a probability ${claim(score)}.`;
  }

  const { say, box } = speaker(sentence([0], good.length));
  el.append(h("div", { class: "fm-root fm-scale", role: "group", "aria-label": model.get("alt") },
    h("p", { class: "fm-title" }, model.get("title")), box,
    h("p", { class: "fm-head" }, `Take ${noun}s out of the mail (before any ${noun}: ${signed(prior)})`),
    h("ul", { class: "fm-words" }, ...chips.map((each) => each.item)), ...row));

  return follow(model, ["off", "pasted"], () => {
    const off = model.get("off"), pasted = model.get("pasted");
    write(say, sentence(off, pasted));
    chips.forEach((each, i) => {
      each.box.checked = !off.includes(i);
      each.item.classList.toggle("fm-off", off.includes(i));
    });
    if (!row.length) return;
    paste.value = pasted;
    paste.setAttribute("aria-valuetext", counted(pasted, "good word"));
    write(count, `${pasted} of ${good.length}`);
    write(row[1], good.slice(0, pasted).map((word) => word.word).join(" ") || "nothing pasted");
  });
}

export default { render };
