const shown = (token) => token === "\n" ? "↵" : token === " " ? "\u00a0" : token;
const named = (token) => token === "\n" ? "the line break" : token === " " ? "the space" : quoted(token);

function render({ model, el }) {
  const tokens = model.get("tokens"), names = model.get("names"), n = tokens.length;
  const low = model.get("low"), high = model.get("high"), bytes = model.get("values");
  const share = (track, i) => bytes.getUint8(track * n + i) / 255;
  const number = (track, i) => (low + share(track, i) * (high - low)).toFixed(2).replace("-", "−");
  const zero = Math.max(0, Math.min(1, -low / (high - low))); // where bars begin

  const tracks = h("select", { change: () => put(model, { track: +tracks.value }) },
    ...names.map((name, track) => h("option", { value: track }, name)));
  const slider = h("input", { type: "range", min: 0, max: n - 1, "aria-label": "Place in the text",
    input: () => put(model, { place: +slider.value }) });

  // Each token is a column: its bar above, the token below; after a line break a new line begins.
  const bars = tokens.map(() => h("i", {}));
  const columns = tokens.map((token, i) => h("span", { class: "fm-column", pointerdown: () => put(model, { place: i }),
    pointerenter: (event) => { if (event.pointerType === "mouse") put(model, { place: i }); } },
    h("span", { class: "fm-track" }, bars[i]), h("b", {}, shown(token))));
  const text = h("div", { class: "fm-lines", "aria-hidden": "true" });
  columns.forEach((column, i) => text.append(column, ...(tokens[i] === "\n" ? [h("br")] : [])));

  function sentence(track, i) {
    const read = tokens.slice(Math.max(0, i - 11), i).join("").replaceAll("\n", "↵");
    const after = read ? `, after ${quoted((i > 11 ? "…" : "") + read)}` : "";
    return `Token ${i + 1} of ${n}, ${named(tokens[i])}${after}: ${names[track]} is ${number(track, i)}.`;
  }

  const all = names.flatMap((_, track) => [0, n >> 1, n - 1].map((i) => sentence(track, i)));
  const { say, box } = speaker(longest(all));
  el.append(h("div", { class: "fm-root fm-reading", role: "group", "aria-label": model.get("alt") },
    h("div", { class: "fm-row" }, h("label", {}, "Shown: ", tracks), slider), box, text,
    h("p", { class: "fm-tally" }, `Bars go from ${low} (bottom) to ${high} (top).`)));

  function draw() {
    const track = model.get("track");
    tracks.value = track;
    bars.forEach((bar, i) => {
      const at = share(track, i);
      bar.style.cssText = `bottom:${100 * Math.min(at, zero)}%;height:${100 * Math.abs(at - zero)}%`;
    });
  }

  function tell() {
    const place = model.get("place"), said = sentence(model.get("track"), place);
    write(say, said);
    slider.value = place;
    slider.setAttribute("aria-valuetext", `token ${place + 1} of ${n}`);
    columns.forEach((column, i) => column.classList.toggle("fm-here", i === place));
  }

  const stops = [follow(model, ["track"], draw), follow(model, ["track", "place"], tell)];
  return () => stops.forEach((stop) => stop());
}

export default { render };
