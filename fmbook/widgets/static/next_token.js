function render({ model, el }) {
  const prompts = model.get("prompts"), names = model.get("names"), nats = model.get("nats"), tails = model.get("tails");
  const unnamed = tails.byteLength / prompts.length, size = nats[0].length + unnamed, shown = Math.min(14, nats[0].length);
  const visible = (token) => token.replaceAll("\n", "↵").replaceAll(" ", "␣") || "∅";
  const whole = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
  const share = (x) => x >= 0.0995 ? percent(x) : x > 0 ? `${(100 * x).toFixed(x < 0.000995 ? 2 : 1)}\u202f%` : "";

  // Below the likeliest token, in nats: the named ones, then the tail in tenths.
  const below = prompts.map((_, i) =>
    [...nats[i], ...Array.from({ length: unnamed }, (_, j) => tails.getUint8(i * unnamed + j) / 10)]);

  // Temperature, then top-k, then top-p, each followed by a division by the sum.
  function cut(prompt, temperature, k, p) {
    const normed = (list) => { const sum = list.reduce((a, b) => a + b, 0); return list.map((x) => x / sum); };
    let chances = normed(below[prompt].map((x, i) => (k && i >= k ? 0 : Math.exp(-x / temperature))));
    if (p < 1) {
      let reached = 0;
      chances = normed(chances.map((x) => { const kept = reached < p ? x : 0; reached += x; return kept; }));
    }
    return chances;
  }
  const bits = (chances) => chances.reduce((sum, x) => sum - (x ? x * Math.log2(x) : 0), 0);

  const select = h("select", { change: () => put(model, { prompt: +select.value }) },
    ...prompts.map((text, i) => h("option", { value: i }, text)));
  const ks = [...new Set([1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1000].filter((k) => k < size)), 0];
  function slider(label, settings, change) {
    const value = h("output"), input = h("input", { type: "range", "aria-label": label, ...settings, input: () => change(+input.value) });
    return { input, value, row: h("div", { class: "fm-knob" }, h("span", { "aria-hidden": "true" }, label), input, value) };
  }
  const heat = slider("temperature", { min: 5, max: 200, step: 5 }, (x) => put(model, { temperature: x / 100 }));
  const few = slider("top-k", { min: 0, max: ks.length - 1, step: 1 }, (x) => put(model, { k: ks[x] }));
  const mass = slider("top-p", { min: 5, max: 100, step: 5 }, (x) => put(model, { p: x / 100 }));
  const reset = h("button", { type: "button", click: () => put(model, { temperature: 1, k: 0, p: 1 }) }, "Reset");

  const rows = Array.from({ length: shown }, () => {
    const name = h("b"), own = h("i", { class: "fm-own" }), now = h("i", { class: "fm-now" }), number = h("small");
    return { name, own, now, number, row: h("div", { class: "fm-token" }, name, h("div", { class: "fm-lane" }, own, now), number) };
  });

  function sentence(prompt, temperature, k, p) {
    const chances = cut(prompt, temperature, k, p), kept = chances.filter((x) => x > 0).length;
    const left = kept === 1 ? `only ${quoted(visible(names[prompt][0]))} can be drawn` :
      `${kept === size ? "all" : whole(kept) + " of"} ${whole(size)} tokens can be drawn, ${quoted(visible(names[prompt][0]))} with ${share(chances[0])}`;
    return `After ${quoted(prompts[prompt])}: ${left}; the entropy is ${(bits(chances) + 0).toFixed(1)} bits.`;
  }
  const settings = () => ["prompt", "temperature", "k", "p"].map((name) => model.get(name));
  const { say, box } = speaker(longest(prompts.map((_, i) => sentence(i, 1.25, 0, 0.99) + " 0000")));
  el.append(h("div", { class: "fm-root fm-next_token", role: "group", "aria-label": model.get("alt") },
    h("label", { class: "fm-row" }, "Prompt", select),
    h("div", { class: "fm-knobs" }, heat.row, few.row, mass.row, reset), box,
    h("div", { class: "fm-bars", role: "img", "aria-label": `Bars: the chances of the ${shown} likeliest tokens, before and after the sliders` },
      ...rows.map((each) => each.row)),
    h("p", { class: "fm-key", "aria-hidden": "true" }, h("i", { class: "fm-now" }), " as the sliders say ", h("i", { class: "fm-own" }), " as the model says")));

  function tell() {
    const [prompt, temperature, k, p] = settings();
    const own = cut(prompt, 1, 0, 1), now = cut(prompt, temperature, k, p), most = Math.max(own[0], now[0]);
    write(say, sentence(prompt, temperature, k, p));
    select.value = prompt;
    [[heat, Math.round(100 * temperature), temperature.toFixed(2)], [few, Math.max(0, ks.indexOf(k)), k ? whole(k) : "off"],
      [mass, Math.round(100 * p), p < 1 ? p.toFixed(2) : "off"]].forEach(([knob, at, text]) => {
      knob.input.value = at;
      knob.input.setAttribute("aria-valuetext", text);
      write(knob.value, text);
    });
    rows.forEach(({ name, own: outline, now: bar, number, row }, i) => {
      write(name, visible(names[prompt][i]));
      outline.style.width = `${(100 * own[i]) / most}%`;
      bar.style.width = `${(100 * now[i]) / most}%`;
      write(number, now[i] ? share(now[i]) : "cut");
      row.classList.toggle("fm-cut", !now[i]);
    });
  }
  return follow(model, ["prompt", "temperature", "k", "p"], tell);
}

export default { render };
