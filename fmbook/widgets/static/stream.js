const seen = (token) => token.replaceAll("\n", "↵").replaceAll(" ", "\u00a0");
const chance = (share) => `${share < 10 ? share.toFixed(1) : Math.round(share)}\u202f%`;

function render({ model, el }) {
  const tokens = model.get("tokens"), stages = model.get("stages"), n = tokens.length;
  const guesses = model.get("guesses"), lengths = model.get("lengths");
  const most = Math.max(...lengths.flat(), 1e-9);
  const best = (stage, place) => guesses[stage][place][0] ?? ["", 0];

  const slider = h("input", { type: "range", min: 0, max: n - 1, "aria-label": "Place in the text",
    input: () => put(model, { place: +slider.value }) });
  const words = tokens.map((token, i) => h("span", { class: "fm-word", pointerdown: () => put(model, { place: i }) }, seen(token)));
  const text = h("div", { class: "fm-lines", "aria-hidden": "true" });
  words.forEach((word, i) => text.append(word, ...(tokens[i].endsWith("\n") ? [h("br")] : [])));

  // A row a stage: its name, how much it adds, and the guesses after it.
  const rows = stages.map((stage) => {
    const bar = h("i", { class: "fm-bar" }), said = h("td", {}), added = h("small", {});
    return { bar, said, added, row: h("tr", {}, h("th", { scope: "row" }, stage), h("td", { class: "fm-added" }, added, bar), said) };
  });
  const table = h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "after"), h("th", { scope: "col" }, "length added"), h("th", { scope: "col" }, "guesses for the next token"))),
    h("tbody", {}, ...rows.map((each) => each.row)));

  function sentence(place) {
    const read = tokens.slice(Math.max(0, place - 7), place + 1).join("").replaceAll("\n", "↵");
    const last = stages.length - 1, [word, share] = best(last, place);
    let from = last;
    while (from && best(from - 1, place)[0] === word) from -= 1;
    const next = place + 1 < n ? ` The text goes on with ${quoted(seen(tokens[place + 1]))}.` : "";
    return `After ${quoted((place > 7 ? "…" : "") + read)} the guess is ${quoted(seen(word))} (${chance(share)}), first from ${stages[from]} on.${next}`;
  }

  const { say, box } = speaker(longest(tokens.map((_, place) => sentence(place))));
  el.append(h("div", { class: "fm-root fm-stream", role: "group", "aria-label": model.get("alt") },
    h("div", { class: "fm-row" }, h("span", {}, "Read up to:"), slider), text, box, table));

  function draw() {
    const place = model.get("place");
    slider.value = place;
    slider.setAttribute("aria-valuetext", `token ${place + 1} of ${n}, ${seen(tokens[place])}`);
    words.forEach((word, i) => { word.classList.toggle("fm-here", i === place); word.classList.toggle("fm-later", i > place); });
    rows.forEach(({ bar, said, added }, stage) => {
      bar.style.setProperty("--share", lengths[stage][place] / most);
      write(added, lengths[stage][place].toFixed(1));
      said.replaceChildren(...guesses[stage][place].map(([word, share], i) =>
        h("span", { class: i ? "fm-guess" : "fm-guess fm-best" }, seen(word), h("small", {}, ` ${chance(share)}`))));
    });
    write(say, sentence(place));
  }

  return follow(model, ["place"], draw);
}

export default { render };
