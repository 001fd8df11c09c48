function render({ model, el }) {
  const bytes = model.get("pixels"), height = model.get("height"), width = model.get("width");
  const names = model.get("names"), says = model.get("says"), noise = model.get("noise");
  const first = says.map((_, way) => says.slice(0, way).flat().length);

  // What is there (part 0) or guessed (part 1) at one step; a byte holds two pixels.
  function draw(canvas, way, step, part) {
    const pen = canvas.getContext("2d"), picture = pen.createImageData(width, height);
    const start = (2 * (first[way] + step) + part) * width * height;
    for (let i = 0; i < width * height; i++) {
      const both = bytes.getUint8((start + i) >> 1);
      const grey = 17 * ((start + i) % 2 ? both & 15 : both >> 4);
      picture.data.set([grey, grey, grey, 255], 4 * i);
    }
    pen.putImageData(picture, 0, 0);
  }
  const sheet = (settings) => h("canvas", { width, height, ...settings });
  const last = (way) => says[way].length - 1;

  const select = h("select", { change: () => {
    const way = +select.value, share = model.get("step") / Math.max(1, last(model.get("way")));
    put(model, { way, step: Math.round(share * last(way)) });
  } }, ...names.map((name, i) => h("option", { value: i }, name)));
  const slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Step from noise to image", input: () => put(model, { step: +slider.value }) });
  const there = sheet({ role: "img" }), guess = sheet({ role: "img" });
  const film = h("div", { class: "fm-film" });
  let frames = [];

  const sentence = (way, step) =>
    `${names[way]}, step ${step + 1} of ${says[way].length}: ${percent(noise[way][step])} noise is left; ${says[way][step]}.`;
  const { say, box } = speaker(longest(says.flatMap((texts, way) => texts.map((_, step) => sentence(way, step)))));
  el.append(h("div", { class: "fm-root fm-denoising", role: "group", "aria-label": model.get("alt") },
    h("label", { class: "fm-row" }, "Way", select), box,
    h("div", { class: "fm-view" },
      h("div", { class: "fm-shown" }, there, h("small", {}, "what is there")),
      h("div", { class: "fm-shown" }, guess, h("small", {}, "the network’s guess"))),
    h("label", { class: "fm-row" }, "step", slider), film));

  function lay() {
    const way = model.get("way");
    frames = says[way].map((_, step) => sheet({ "aria-hidden": "true", click: () => put(model, { step }) }));
    frames.forEach((canvas, step) => draw(canvas, way, step, 0));
    film.replaceChildren(...frames);
    slider.max = last(way);
  }
  function tell() {
    const way = model.get("way"), step = Math.min(model.get("step"), last(way));
    draw(there, way, step, 0);
    draw(guess, way, step, 1);
    there.setAttribute("aria-label", `The image after step ${step + 1}`);
    guess.setAttribute("aria-label", `The network’s guess at step ${step + 1}`);
    write(say, sentence(way, step));
    select.value = way;
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step + 1} of ${says[way].length}`);
    frames.forEach((canvas, i) => canvas.classList.toggle("fm-here", i === step));
  }
  const stops = [follow(model, ["way"], lay), follow(model, ["way", "step"], tell)];
  return () => stops.forEach((stop) => stop());
}

export default { render };
