const round = (number) => number.toFixed(2).replace("-", "−");

function render({ model, el }) {
  const bytes = model.get("pixels"), width = model.get("width"), height = bytes.byteLength / width;
  const names = model.get("names"), kernels = model.get("kernels");
  const pixel = (row, column) => bytes.getUint8(row * width + column) / 255;

  // The sum of products at one place, and the whole map of a kernel with its largest size.
  const answer = (kernel, row, column) => kernel.reduce((sum, line, u) =>
    sum + line.reduce((part, weight, v) => part + weight * pixel(row + u, column + v), 0), 0);
  const maps = kernels.map((kernel) => {
    const rows = height - kernel.length + 1, columns = width - kernel.length + 1;
    const values = Array.from({ length: rows * columns }, (_, i) => answer(kernel, Math.floor(i / columns), i % columns));
    return { rows, columns, values, most: Math.max(1e-9, ...values.map(Math.abs)) };
  });

  const select = h("select", { change: () => put(model, { kernel: +select.value }) },
    ...names.map((name, i) => h("option", { value: i }, name)));
  const slider = (name) => {
    const input = h("input", { type: "range", min: 0, step: 1, "aria-label": `${name} of the patch`, input: () => put(model, { [name]: +input.value }) });
    return input;
  };
  const down = slider("row"), right = slider("column");

  // A picture whose pixels are stretched; pointing at it moves the patch.
  function field(label, point) {
    const canvas = h("canvas", { role: "img", "aria-label": label });
    const frame = h("div", { class: "fm-frame" });
    const move = (event) => {
      const box = canvas.getBoundingClientRect();
      point((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    return { canvas, frame, box: h("div", { class: "fm-field", pointermove: move, pointerdown: move }, canvas, frame) };
  }
  const go = (column, row) => {
    const { rows, columns } = maps[model.get("kernel")];
    put(model, { row: Math.max(0, Math.min(rows - 1, row)), column: Math.max(0, Math.min(columns - 1, column)) });
  };
  const image = field(`The image, ${height} by ${width} pixels`, (x, y) => {
    const half = kernels[model.get("kernel")].length / 2;
    go(Math.round(x * width - half), Math.round(y * height - half));
  });
  const map = field("The map of answers: grey is 0, white the most, black the least", (x, y) => {
    const { rows, columns } = maps[model.get("kernel")];
    go(Math.floor(x * columns), Math.floor(y * rows));
  });
  const table = h("table", { class: "fm-products" });

  const place = () => {
    const { rows, columns } = maps[model.get("kernel")];
    return [Math.min(model.get("row"), rows - 1), Math.min(model.get("column"), columns - 1)];
  };
  function sentence(kernel, row, column) {
    const { values, columns, most } = maps[kernel], size = kernels[kernel].length;
    const sum = values[row * columns + column], share = Math.abs(sum) / most;
    const strength = `${share < 0.6 ? "somewhat" : "strongly"}, ${sum > 0 ? "like" : "against"} it`;
    const answer = share < 0.15 ? "hardly answers" : `answers ${strength}`;
    return `${quoted(names[kernel])} at row ${row + 1}, column ${column + 1}: ${size * size} products add up to ${round(sum)}. It ${answer}.`;
  }
  const all = names.map((_, kernel) => sentence(kernel, maps[kernel].rows - 1, maps[kernel].columns - 1) + " somewhat, against it");
  const { say, box } = speaker(longest(all));
  el.append(h("div", { class: "fm-root fm-kernel", role: "group", "aria-label": model.get("alt") },
    h("label", { class: "fm-row" }, "Kernel", select), box,
    h("div", { class: "fm-three" },
      h("div", {}, h("p", { class: "fm-head" }, "image and patch"), image.box),
      h("div", {}, h("p", { class: "fm-head" }, "weight × pixel"), table),
      h("div", {}, h("p", { class: "fm-head" }, "map of answers"), map.box)),
    h("div", { class: "fm-row" }, h("label", { class: "fm-row fm-grow" }, "row", down), h("label", { class: "fm-row fm-grow" }, "column", right))));

  function paint(canvas, columns, rows, shade) {
    canvas.width = columns;
    canvas.height = rows;
    const pen = canvas.getContext("2d"), picture = pen.createImageData(columns, rows);
    for (let i = 0; i < columns * rows; i++) {
      const grey = 255 * shade(Math.floor(i / columns), i % columns);
      picture.data.set([grey, grey, grey, 255], 4 * i);
    }
    pen.putImageData(picture, 0, 0);
  }
  function frame(node, row, column, size, rows, columns) {
    node.style.cssText = `top:${(100 * row) / rows}%;left:${(100 * column) / columns}%;height:${(100 * size) / rows}%;width:${(100 * size) / columns}%`;
  }
  paint(image.canvas, width, height, pixel);

  function choose() {
    const { rows, columns, values, most } = maps[model.get("kernel")];
    paint(map.canvas, columns, rows, (row, column) => 0.5 + values[row * columns + column] / (2 * most));
    down.max = rows - 1;
    right.max = columns - 1;
  }
  function tell() {
    const kernel = model.get("kernel"), [row, column] = place(), { rows, columns } = maps[kernel];
    const weights = kernels[kernel];
    write(say, sentence(kernel, row, column));
    select.value = kernel;
    down.value = row;
    right.value = column;
    down.setAttribute("aria-valuetext", `row ${row + 1}`);
    right.setAttribute("aria-valuetext", `column ${column + 1}`);
    frame(image.frame, row, column, weights.length, height, width);
    frame(map.frame, row, column, 1, rows, columns);
    const most = Math.max(1e-9, ...weights.flat().map(Math.abs));
    table.replaceChildren(...weights.map((line, u) => h("tr", {}, ...line.map((weight, v) => {
      const product = weight * pixel(row + u, column + v), share = Math.round(45 * Math.min(1, Math.abs(product) / most));
      return h("td", { class: product < 0 ? "fm-minus" : "fm-plus", style: `--share:${share}%` }, product ? round(product) : "0");
    }))));
  }
  const stops = [follow(model, ["kernel"], choose), follow(model, ["kernel", "row", "column"], tell)];
  return () => stops.forEach((stop) => stop());
}

export default { render };
