const short = (number) => `${+number.toPrecision(4)}`.replace("-", "−");

function render({ model, el }) {
  const nodes = model.get("nodes"), n = nodes.length, steps = 2 * n;
  const at = new Map(nodes.map((node, i) => [node.id, i]));
  const columns = 1 + Math.max(...nodes.map((node) => node.column));
  const rows = Math.max(2, ...Array.from({ length: columns }, (_, c) => nodes.filter((node) => node.column === c).length));

  // The controls: one node there or back, or any step at once.
  const go = (step) => { if (step >= 0 && step <= steps) put(model, { step }); };
  const back = h("button", { type: "button", click: () => go(model.get("step") - 1) }, "Back");
  const next = h("button", { type: "button", click: () => go(model.get("step") + 1) }, "Next");
  const range = h("input", { type: "range", min: 0, max: steps, step: 1, "aria-label": "Step", input: () => go(+range.value) });
  const count = h("output");

  // Places in percent of the field: the lines stretch with it, the boxes do not.
  const x = (node) => (100 * (node.column + 0.5)) / columns, y = (node) => 100 * node.y;
  const values = nodes.map(() => h("span")), blames = nodes.map(() => h("b"));
  const boxes = nodes.map((node, i) => h("li", { style: `left:${x(node)}%;top:${y(node)}%` },
    h("em", {}, node.text), h("span", {}, "value ", values[i]), h("span", { class: "fm-blame" }, "gradient ", blames[i])));
  const lines = nodes.flatMap((node, to) => Object.keys(node.passes).map((id) => {
    const from = at.get(id), [a, b] = [x(nodes[from]), x(node)], middle = (a + b) / 2;
    return { from, to, line: h("path", { d: `M${a} ${y(nodes[from])}C${middle} ${y(nodes[from])} ${middle} ${y(node)} ${b} ${y(node)}` }) };
  }));
  const net = h("svg", { "aria-hidden": "true", viewBox: "0 0 100 100", preserveAspectRatio: "none" }, ...lines.map(({ line }) => line));
  const field = h("div", { class: "fm-field", style: `--rows:${rows};--columns:${columns}` }, net, h("ul", {}, ...boxes));

  // What has come back to a node so far, from the children that were visited.
  const visited = (step) => step <= n ? -1 : step - n - 1; // counted from the result
  const arrived = (i, step) => i === n - 1 ? (step > n ? nodes[i].gradient : 0)
    : lines.filter(({ from, to }) => from === i && n - 1 - to <= visited(step)).reduce((sum, { to }) => sum + nodes[to].passes[nodes[i].id], 0);
  const any = (i, step) => i === n - 1 ? step > n : lines.some(({ from, to }) => from === i && n - 1 - to <= visited(step));

  function sentence(step) {
    if (!step) return `${counted(n, "node")}. Next computes the first value.`;
    if (step <= n) {
      const node = nodes[step - 1], made = Object.keys(node.passes).map((id) => quoted(nodes[at.get(id)].text));
      return `Forward, ${step} of ${n}: ${quoted(node.text)} is ${short(node.value)}${made.length ? `, made from ${listed(made)}` : ", given"}.`;
    }
    const i = n - 1 - visited(step), node = nodes[i], parts = Object.entries(node.passes);
    const said = parts.map(([id, part]) => `${short(part)} to ${quoted(nodes[at.get(id)].text)}`);
    const rest = parts.length ? `hands back ${listed(said)}` : "is an input: this is its gradient";
    return `Backward, ${step - n} of ${n}: ${quoted(node.text)} has the gradient ${short(node.gradient)} and ${rest}.`;
  }

  const all = Array.from({ length: steps + 1 }, (_, step) => sentence(step));
  const { say, box } = speaker(longest(all));
  el.append(h("div", { class: "fm-root fm-graph", role: "group", "aria-label": model.get("alt") },
    h("p", { class: "fm-title" }, model.get("title")), h("div", { class: "fm-row" }, back, next, range, count), box, field));

  return follow(model, ["step"], () => {
    const step = model.get("step"), here = step <= n ? step - 1 : n - 1 - visited(step);
    write(say, sentence(step));
    write(count, `${step} of ${steps}`);
    range.value = step;
    range.setAttribute("aria-valuetext", `step ${count.textContent}`);
    back.setAttribute("aria-disabled", step === 0);
    next.setAttribute("aria-disabled", step === steps);
    nodes.forEach((node, i) => {
      write(values[i], i < step ? short(node.value) : "?");
      write(blames[i], any(i, step) ? short(arrived(i, step)) : "?");
      boxes[i].classList.toggle("fm-here", i === here);
      boxes[i].classList.toggle("fm-later", i >= step);
    });
    for (const { from, to, line } of lines) {
      const there = step <= n ? to === here : false, home = step > n && to === here;
      line.setAttribute("class", there || home ? "fm-here" : to >= step ? "fm-later" : "");
    }
  });
}

export default { render };
