function render({ model, el }) {
  const bytes = model.get("pixels"), height = model.get("height"), width = model.get("width");
  const names = model.get("names"), says = model.get("says"), steps = says[0].length;

  // A picture of one step, its pixels stretched by the page.
  function draw(canvas, walk, step) {
    const pen = canvas.getContext("2d"), picture = pen.createImageData(width, height);
    const start = (walk * steps + step) * width * height;
    for (let i = 0; i < width * height; i++) {
      const grey = bytes.getUint8(start + i);
      picture.data.set([grey, grey, grey, 255], 4 * i);
    }
    pen.putImageData(picture, 0, 0);
  }
  const sheet = (settings) => h("canvas", { width, height, ...settings });

  const select = h("select", { change: () => put(model, { walk: +select.value }) },
    ...names.map((name, i) => h("option", { value: i }, name)));
  const slider = h("input", { type: "range", min: 0, max: steps - 1, step: 1, "aria-label": "Step of the walk", input: () => put(model, { step: +slider.value }) });
  const large = sheet({ role: "img" });
  const film = says[0].map((_, step) => sheet({ "aria-hidden": "true", click: () => put(model, { step }) }));

  const sentence = (walk, step) => `Step ${step + 1} of ${steps}, ${names[walk]}: ${says[walk][step]}.`;
  const { say, box } = speaker(longest(says.flatMap((texts, walk) => texts.map((_, step) => sentence(walk, step)))));
  el.append(h("div", { class: "fm-root fm-walk", role: "group", "aria-label": model.get("alt") },
    h("label", { class: "fm-row" }, "Walk", select), box,
    h("div", { class: "fm-view" }, large,
      h("div", { class: "fm-path" }, h("label", { class: "fm-row" }, "step", slider), h("div", { class: "fm-film" }, ...film)))));

  function lay() {
    film.forEach((canvas, step) => draw(canvas, model.get("walk"), step));
  }
  function tell() {
    const walk = model.get("walk"), step = model.get("step");
    draw(large, walk, step);
    large.setAttribute("aria-label", `The picture at step ${step + 1}`);
    write(say, sentence(walk, step));
    select.value = walk;
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step + 1} of ${steps}`);
    film.forEach((canvas, i) => canvas.classList.toggle("fm-here", i === step));
  }
  const stops = [follow(model, ["walk"], lay), follow(model, ["walk", "step"], tell)];
  return () => stops.forEach((stop) => stop());
}

export default { render };
