const signed = (number) => number.toFixed(2).replace("-", "−");

function render({ model, el }) {
  const facts = model.get("facts"), given = facts.filter((fact) => fact.rule === null).length;
  const steps = facts.length - given;
  const number = new Map(facts.map((fact, i) => [fact.id, i]));
  const premises = facts.map((fact) => fact.because.map((id) => number.get(id)));
  const both = facts.some((fact) => fact.certainty < 0); // then bars start in the middle

  // The controls: one step of inference forward or back, or any step at once.
  const go = (step) => {
    if (step < 0 || step > steps) return;
    put(model, { step, chosen: step ? given + step - 1 : -1 });
  };
  const back = h("button", { type: "button", click: () => go(model.get("step") - 1) }, "Back");
  const next = h("button", { type: "button", click: () => go(model.get("step") + 1) }, "Next");
  const range = h("input", { type: "range", min: 0, max: steps, step: 1, "aria-label": "Step", input: () => go(+range.value) });
  const count = h("output");

  // The facts: what was given, then what follows. A derived fact is a button that asks "how?".
  function degree({ certainty }) {
    if (certainty === null) return [];
    const start = both ? Math.min(0.5, 0.5 + certainty / 2) : 0, width = Math.abs(certainty) / (both ? 2 : 1);
    return [h("i", { class: "fm-bar", style: `--from:${start};--share:${width}` }), h("small", {}, signed(certainty))];
  }
  function reason(fact, i) {
    const from = premises[i].length ? `from ${listed(premises[i].map((p) => p + 1))}` : "without premises";
    return h("span", { class: "fm-rule" }, h("b", {}, fact.rule), ` ${from}`);
  }
  const items = facts.map((fact, i) => {
    const parts = [h("span", { class: "fm-number" }, `${i + 1}`),
      h("span", { class: "fm-text" }, fact.text, h("em", {}, i === facts.length - 1 ? "conclusion" : "premise")),
      h("span", { class: "fm-degree" }, ...degree(fact))];
    if (i < given) return h("li", {}, h("div", { class: "fm-fact" }, ...parts));
    const ask = h("button", { type: "button", class: "fm-fact", click: () => put(model, { chosen: i }) }, ...parts, reason(fact, i));
    return h("li", { class: i === facts.length - 1 ? "fm-end" : "", keydown: (event) => walk(event, i) }, ask);
  });
  function walk(event, i) {
    const to = { ArrowDown: i + 1, ArrowUp: i - 1 }[event.key];
    if (!(to >= given && to < given + model.get("step"))) return;
    event.preventDefault();
    items[to].firstChild.focus();
    put(model, { chosen: to });
  }

  // The arcs in the margin lead from premises to what follows from them.
  const arcs = facts.flatMap((_, to) => premises[to].map((from) => ({ from, to, line: h("path") })));
  const net = h("svg", { "aria-hidden": "true" }, ...arcs.map((arc) => arc.line));
  const chain = h("div", { class: "fm-chain" }, net,
    h("p", { class: "fm-head" }, "Given"), h("ul", {}, ...items.slice(0, given)),
    h("p", { class: "fm-head" }, "Derived"), h("ul", {}, ...items.slice(given)));
  function bend() {
    const width = net.getBoundingClientRect().width, top = net.getBoundingClientRect().top;
    const level = (i) => {
      const box = items[i].getBoundingClientRect();
      return box.top + box.height / 2 - top;
    };
    for (const { from, to, line } of arcs) {
      const [a, b] = [level(from), level(to)], out = Math.max(0, width - 8 - (b - a) / 5);
      line.setAttribute("d", `M${width} ${a}C${out} ${a} ${out} ${b} ${width - 2} ${b}m-5-4l5 4-5 4`);
    }
  }

  const { say, box } = speaker();
  el.append(h("div", { class: "fm-root fm-inference", role: "group", "aria-label": model.get("alt") },
    h("p", { class: "fm-title" }, model.get("title")),
    h("div", { class: "fm-row" }, back, next, range, count), box, chain));

  function sentence(step, chosen) {
    if (chosen < 0) return `${counted(given, "fact")} given, nothing derived yet. Next applies the first rule.`;
    const { text, rule, certainty } = facts[chosen];
    const sure = certainty === null ? "" : ` (certainty ${signed(certainty)})`;
    const why = listed(premises[chosen].map((p) => quoted(facts[p].text)));
    const end = chosen === facts.length - 1 ? ", the conclusion" : "";
    return `Step ${chosen - given + 1} of ${steps}${end}: ${quoted(text)}${sure}. How? By rule ${rule}${why && ` from ${why}`}.`;
  }

  function draw() {
    const step = model.get("step"), chosen = model.get("chosen"), last = given + step - 1;
    write(say, sentence(step, chosen));
    write(count, `${step} of ${steps}`);
    range.value = step;
    range.setAttribute("aria-valuetext", `step ${count.textContent}`);
    back.setAttribute("aria-disabled", step === 0);
    next.setAttribute("aria-disabled", step === steps);
    items.forEach((item, i) => {
      item.classList.toggle("fm-later", i > last);
      item.classList.toggle("fm-chosen", i === chosen);
      item.classList.toggle("fm-premise", chosen >= 0 && premises[chosen].includes(i));
      if (i >= given) item.firstChild.setAttribute("aria-pressed", i === chosen);
    });
    for (const { to, line } of arcs) line.setAttribute("class", to > last ? "fm-later" : to === chosen ? "fm-chosen" : "");
  }

  const sizes = new ResizeObserver(bend);
  sizes.observe(chain);
  const stop = follow(model, ["step", "chosen"], draw);
  return () => { sizes.disconnect(); stop(); };
}

export default { render };
