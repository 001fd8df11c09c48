const short = (number) => `${+number.toPrecision(2)}`.replace("-", "−");

function render({ model, el }) {
  const rules = model.get("rules"), [a, b] = model.get("curvature"), n = rules[0].paths[0].length - 1;
  const start = rules[0].paths[0][0], wide = 1.25 * Math.abs(start[0]), high = 1.25 * Math.abs(start[1]);
  const loss = ([x, y]) => (a * x * x + b * y * y) / 2;

  // The controls: which rule, at which of its rates, how many steps of the path.
  const rule = h("select", { change: () => put(model, { rule: +rule.value, rate: Math.min(model.get("rate"), rules[+rule.value].rates.length - 1) }) },
    ...rules.map(({ name }, i) => h("option", { value: i }, name)));
  const most = Math.max(...rules.map(({ rates }) => rates.length)) - 1;
  const rate = h("input", { type: "range", min: 0, max: most, step: 1, input: () => put(model, { rate: +rate.value }) });
  const step = h("input", { type: "range", min: 0, max: n, step: 1, input: () => put(model, { step: +step.value }) });
  const rated = h("output"), stepped = h("output");
  const row = (label, control, output) => h("label", { class: "fm-row" }, h("span", {}, label), control, ...(output ? [output] : []));

  // The valley: five levels of the loss, and the path over them. Units are those of x and y.
  const ellipse = (level) => {
    const rx = Math.sqrt((2 * level) / a), ry = Math.sqrt((2 * level) / b);
    return `M${-rx} 0A${rx} ${ry} 0 1 0 ${rx} 0A${rx} ${ry} 0 1 0 ${-rx} 0`;
  };
  const levels = [0.01, 0.1, 0.3, 0.6, 1].map((share) => h("path", { class: "fm-level", d: ellipse(share * loss(start)) }));
  const path = h("path", { class: "fm-path" }), dot = h("path", { class: "fm-dot" }), goal = h("path", { class: "fm-goal", d: "M0 0h0" });
  const net = h("svg", { viewBox: `${-wide} ${-high} ${2 * wide} ${2 * high}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    ...levels, goal, path, dot);

  const { say, box } = speaker("After 100 steps of momentum at rate 0.0005 the loss is 0.00000005, from 100 at the start; it has crossed the bottom of the valley 100 times.");
  el.append(h("div", { class: "fm-root fm-descent", role: "group", "aria-label": model.get("alt") },
    h("div", { class: "fm-controls" }, row("Rule", rule), row("Rate", rate, rated), row("Steps", step, stepped)), box, h("div", { class: "fm-field" }, net)));

  function sentence(name, eta, walked) {
    const now = loss(walked.at(-1)), first = loss(start);
    const crossed = walked.slice(1).filter(([, y], i) => y * walked[i][1] < 0).length;
    const how = `After ${counted(walked.length - 1, "step")} of ${name} at rate ${eta} the loss is ${short(now)}, from ${short(first)} at the start`;
    if (!(now < 1e3 * first)) return `${how}: it flies out of the valley.`;
    return `${how}; it has crossed the bottom of the valley ${counted(crossed, "time")}.`;
  }

  return follow(model, ["rule", "rate", "step"], () => {
    const { name, rates, paths } = rules[model.get("rule")], chosen = Math.min(model.get("rate"), rates.length - 1);
    const walked = paths[chosen].slice(0, model.get("step") + 1), far = ([x, y]) => Math.abs(x) > 50 * wide || Math.abs(y) > 50 * high;
    const drawn = walked.slice(0, walked.some(far) ? walked.findIndex(far) + 1 : undefined);
    path.setAttribute("d", `M${drawn.map(([x, y]) => `${x} ${-y}`).join("L")}`);
    dot.setAttribute("d", `M${drawn.at(-1)[0]} ${-drawn.at(-1)[1]}h0`);
    rule.value = model.get("rule");
    rate.value = chosen;
    step.value = walked.length - 1;
    write(rated, `${rates[chosen]}`);
    write(stepped, `${walked.length - 1}`);
    rate.setAttribute("aria-valuetext", `rate ${rates[chosen]}`);
    write(say, sentence(name, rates[chosen], walked));
  });
}

export default { render };
