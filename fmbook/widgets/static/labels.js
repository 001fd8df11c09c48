// Each way has a dash of its own, in the field and in its button.
const DASHES = ["2 4", "11 5", "14 4 2 4", "5 3", "14 4 2 4 2 4"];
const line = (i, settings = {}) => h("path", { class: "fm-line", "stroke-dasharray": DASHES[i % DASHES.length], ...settings });
const sample = (i) => h("svg", { class: "fm-dash", viewBox: "0 0 34 4", "aria-hidden": "true" }, line(i, { d: "M1 2H33" }));
const grouped = (number) => `${number}`.replace(/\B(?=(\d{3})+$)/g, ",");

function render({ model, el }) {
  const tasks = model.get("tasks"), n = tasks[0].labels.length;
  const names = tasks[0].ways.map(({ name }) => name);

  const task = radios("Task", "fm-picks", tasks.map(({ name }) => [name]), (i) => put(model, { task: i }));
  const way = radios("Way to learn it", "fm-picks", names.map((name, i) => [sample(i), name]), (i) => put(model, { way: i }));
  const at = h("input", { type: "range", min: 0, max: n - 1, step: 1, "aria-label": "Labels", input: () => put(model, { at: +at.value }) });
  const count = h("output");

  // The field: labels to the right, evenly on a logarithmic scale; accuracy upwards from the
  // floor, which leaves room for its own label below the lowest curve.
  const places = tasks.map(({ labels }) => {
    const logs = labels.map(Math.log), span = Math.max(logs.at(-1) - logs[0], 1e-9);
    return logs.map((log) => 100 * (n > 1 ? (log - logs[0]) / span : 0.5));
  });
  const floors = tasks.map(({ ways }) => Math.max(0, Math.floor(10 * Math.min(...ways.flatMap(({ low }) => low)) - 0.7) / 10));
  const lines = names.map((_, i) => line(i)), band = h("path", { class: "fm-band" }), dot = h("path", { class: "fm-dot" });
  const grid = h("path", { class: "fm-grid" });
  const net = h("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, grid, band, ...lines, dot);
  const top = h("span", { class: "fm-top", "aria-hidden": "true" }, "100\u202f% right"), low = h("span", { class: "fm-low", "aria-hidden": "true" });
  const marks = tasks[0].labels.map(() => h("span")), ticks = h("div", { class: "fm-ticks", "aria-hidden": "true" }, ...marks);

  function sentence(t, w, i) {
    const { labels, ways } = tasks[t], mine = ways[w], best = Math.max(...ways.map(({ mean }) => mean[i]));
    const ahead = ways.filter(({ mean }) => mean[i] === best).map(({ name }) => name);
    const rank = mine.mean[i] === best ? "No way is better here." : `Best here: ${listed(ahead)}, ${percent(best)}.`;
    return `${tasks[t].name}, ${grouped(labels[i])} labels, ${mine.name}: ${percent(mine.mean[i])} right (${percent(mine.low[i])} to ${percent(mine.high[i])} over seeds), ${mine.cpu[i]} CPU-seconds, ${grouped(mine.parameters)} numbers trained. ${rank}`;
  }
  const every = tasks.flatMap((_, t) => names.flatMap((_, w) => marks.map((_, i) => sentence(t, w, i))));
  const { say, box } = speaker(longest(every));

  el.append(h("div", { class: "fm-root fm-labels", role: "group", "aria-label": model.get("alt") },
    h("div", { class: "fm-controls" }, task.box, way.box, h("div", { class: "fm-row" }, h("span", {}, "Labels"), at, count)),
    box, h("div", { class: "fm-field" }, net, top, low), ticks));

  return follow(model, ["task", "way", "at"], () => {
    const t = model.get("task"), w = model.get("way"), i = model.get("at"), { labels, ways } = tasks[t], floor = floors[t];
    const x = (j) => places[t][j];
    const y = (share) => 100 - (100 * (share - floor)) / (1 - floor);
    const road = (values) => `M${values.map((value, j) => `${x(j)} ${y(value)}`).join("L")}`;
    ways.forEach(({ mean }, j) => {
      lines[j].setAttribute("d", road(mean));
      lines[j].classList.toggle("fm-on", j === w);
      way.choices[j].classList.toggle("fm-on", j === w);
    });
    const back = ways[w].high.map((value, j) => `${x(j)} ${y(value)}`).reverse();
    band.setAttribute("d", `${road(ways[w].low)}L${back.join("L")}z`);
    dot.setAttribute("d", `M${x(i)} ${y(ways[w].mean[i])}h0`);
    grid.setAttribute("d", Array.from({ length: 11 }, (_, k) => k / 10).filter((share) => share > floor).map((share) => `M0 ${y(share)}H100`).join(""));
    write(low, percent(floor));
    marks.forEach((mark, j) => {
      mark.style.left = `${x(j)}%`;
      write(mark, grouped(labels[j]));
    });
    task.inputs[t].checked = way.inputs[w].checked = true;
    task.choices.forEach((choice, j) => choice.classList.toggle("fm-on", j === t));
    at.value = i;
    at.setAttribute("aria-valuetext", `${labels[i]} labels`);
    write(count, grouped(labels[i]));
    write(say, sentence(t, w, i));
  });
}

export default { render };
