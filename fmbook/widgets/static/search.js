function render({ model, el }) {
  const names = model.get("names"), words = model.get("words"), [height, width] = model.get("size");
  const source = `data:image/png;base64,${model.get("sheet")}`, most = 12;
  const rows = (bytes, n) => {
    const D = bytes.byteLength / n;
    return Array.from({ length: n }, (_, i) => Array.from({ length: D }, (_, d) => bytes.getInt8(i * D + d) / 127));
  };
  const seen = rows(model.get("images"), names.length), said = rows(model.get("texts"), words.length);
  const dot = (a, b) => a.reduce((sum, x, d) => sum + x * b[d], 0);
  const cosine = (a, b) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const number = (x) => x.toFixed(2).replace("-", "−");

  // What lies nearest to a direction, nearest first: pairs of number and cosine.
  const nearest = (query, vectors) => vectors.map((v, i) => [i, cosine(query, v)]).sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const told = (found, labels) => listed(found.slice(0, 3).map(([i, x]) => `${quoted(labels[i])} (${number(x)})`));

  const boxes = words.map((_, i) => h("input", { type: "checkbox", change: () => choose(i) }));
  const chips = words.map((word, i) => h("label", { class: "fm-choice" }, boxes[i], word));
  const clear = h("button", { type: "button", click: () => put(model, { chosen: [], pick: -1 }) }, "Clear");
  const start = "No word is chosen: the pictures stand in the order of their list.";
  const { say, box } = speaker(`Nearest to ${listed(words.slice(0, 3).map(quoted))}: ${told(names.map((_, i) => [i, 0]), [...names].sort((a, b) => b.length - a.length))}.`);
  const tiles = Array.from({ length: Math.min(most, names.length) }, () => {
    const picture = h("img", { src: source, alt: "", width, height, draggable: "false" });
    Object.assign(picture.style, { width: `${width}px`, height: `${height}px`, maxWidth: "none" }); // a page may set other sizes
    const name = h("span", {}), bar = h("span", { class: "fm-bar" }), value = h("small", {});
    const button = h("button", { type: "button", click: () => put(model, { pick: model.get("pick") === +button.dataset.i ? -1 : +button.dataset.i }) }, picture, name, bar, value);
    return { button, picture, name, bar, value, item: h("li", {}, button) };
  });
  el.append(h("div", { class: "fm-root fm-search", role: "group", "aria-label": model.get("alt") },
    h("fieldset", { class: "fm-words" }, h("legend", {}, "Words"), ...chips, clear), box,
    h("ol", { class: "fm-found", "aria-label": "Pictures, nearest first" }, ...tiles.map((tile) => tile.item))));

  function choose(i) {
    const chosen = model.get("chosen");
    put(model, { pick: -1, chosen: chosen.includes(i) ? chosen.filter((j) => j !== i) : [...chosen, i] });
  }
  function tell() {
    const chosen = model.get("chosen"), pick = model.get("pick");
    const query = chosen.map((i) => said[i]).reduce((sum, v) => sum.map((x, d) => x + v[d]), seen[0].map(() => 0));
    const found = chosen.length ? nearest(query, seen) : names.map((_, i) => [i, null]);
    boxes.forEach((input, i) => { input.checked = chosen.includes(i); });
    clear.setAttribute("aria-disabled", String(!chosen.length && pick < 0));
    if (pick >= 0) write(say, `The picture ${quoted(names[pick])} lies nearest to the words ${told(nearest(seen[pick], said), words)}.`);
    else write(say, chosen.length ? `Nearest to ${listed(chosen.map((i) => quoted(words[i])))}: ${told(found, names)}.` : start);
    tiles.forEach((tile, place) => {
      const [i, x] = found[place];
      tile.button.dataset.i = i;
      tile.button.setAttribute("aria-pressed", String(i === pick));
      tile.picture.style.objectPosition = `${-i * width}px 0`;
      write(tile.name, names[i]);
      tile.bar.style.setProperty("--share", Math.max(0, x ?? 0));
      write(tile.value, x === null ? "–" : number(x));
    });
  }
  return follow(model, ["chosen", "pick"], tell);
}

export default { render };
