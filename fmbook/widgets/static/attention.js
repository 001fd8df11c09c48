// matplotlib's cividis at nine even steps: the one map for heat maps in this book.
const CIVIDIS = ["#00224e", "#1a386f", "#434e6c", "#61656f", "#7d7c78", "#9b9476", "#bcae6c", "#dec958", "#fee838"];
const STOPS = CIVIDIS.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));

function colour(share) {
  const place = share * (STOPS.length - 1), low = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[low].map((value, i) => value + (place - low) * (STOPS[low + 1][i] - value));
}

const visible = (token) => token.replaceAll("\n", "↵").replaceAll(" ", "␣") || "∅";

function render({ model, el }) {
  const tokens = model.get("tokens"), names = model.get("head_names"), n = tokens.length;
  const bytes = model.get("weights"); // [head][query][key], 255 is 1
  const weight = (head, query, key) => bytes.getUint8((head * n + query) * n + key) / 255;
  const row = (head, query) => tokens.map((_, key) => weight(head, query, key));
  const causal = n > 1 && names.every((_, head) =>
    tokens.every((_, query) => tokens.every((_, key) => key <= query || !weight(head, query, key))));
  const repeated = new Set(tokens).size < n;
  const called = (i) => quoted(visible(tokens[i])) + (repeated ? ` (token ${i + 1})` : "");

  const heads = h("select", { change: () => put(model, { head: +heads.value }) },
    ...names.map((name, head) => h("option", { value: head }, name)));

  // The text itself: the query is chosen here, each token shows the weight it gets as a key.
  const look = (query) => put(model, { query });
  const bars = tokens.map(() => h("i", { class: "fm-bar" }));
  const shares = tokens.map(() => h("small"));
  const text = radios(`Query: this token looks at ${causal ? "itself and those before it" : "all of them"}`, "fm-tokens",
    tokens.map((token, i) => [h("b", {}, visible(token)), bars[i], shares[i]]), look);
  text.choices.forEach((choice, i) => choice.addEventListener("pointerenter", (event) => {
    if (event.pointerType === "mouse") look(i);
  }));

  // The map: a pixel a weight, stretched; labels and the frame of the chosen query lie over it.
  const map = h("canvas", { width: n, height: n, role: "img",
    "aria-label": `Heat map of the weights of ${n} queries (rows) on ${n} keys (columns)` });
  const frame = h("div", { class: "fm-frame" });
  const place = (i) => `--at:${(100 * (i + 0.5)) / n}%`;
  const queries = tokens.map((token, i) => h("span", { style: place(i) }, visible(token)));
  const keys = tokens.map((token, i) => h("span", { style: place(i) }, visible(token)));
  const point = (event) => {
    const box = map.getBoundingClientRect();
    look(Math.max(0, Math.min(n - 1, Math.floor((n * (event.clientY - box.top)) / box.height))));
  };
  const field = h("div", { class: "fm-field", pointermove: point, pointerdown: point }, map, frame);
  const widest = Math.max(...tokens.map((token) => token.length));
  const chart = h("div", { class: "fm-map", style: `--room:calc(${Math.min(9, widest)}ch + 12px)` },
    h("div", { class: "fm-keys", "aria-hidden": "true" }, ...keys),
    h("div", { class: "fm-queries", "aria-hidden": "true" }, ...queries), field,
    h("div", { class: "fm-scale", "aria-hidden": "true", style: `--map:${CIVIDIS.join()}` }, "weight 0", h("i"), "1"));

  // The most attended keys of a query, three at most, and the sentence about them.
  function tops(weights) {
    const order = [...weights.keys()].sort((a, b) => weights[b] - weights[a]);
    return order.slice(0, 3).filter((key, place) => place === 0 || weights[key] >= 0.005);
  }
  function sentence(head, query) {
    const weights = row(head, query);
    const shares = tops(weights).map((key) => `${called(key)} with ${percent(weights[key])}`);
    return `In ${names[head]}, ${called(query)} attends most to ${listed(shares)}.`;
  }

  const all = names.flatMap((_, head) => tokens.map((_, query) => sentence(head, query)));
  const { say, box } = speaker(longest(all));
  el.append(h("div", { class: `fm-root fm-attention${n > 16 ? " fm-dense" : ""}`, role: "group", "aria-label": model.get("alt") },
    h("label", { class: "fm-row" }, "Head", heads), box, h("div", { class: "fm-two" }, chart, text.box)));

  function paint() {
    const pen = map.getContext("2d"), image = pen.createImageData(n, n);
    tokens.forEach((_, query) => row(model.get("head"), query).forEach((share, key) => {
      const seen = key <= query || !causal;
      image.data.set([...colour(share), seen ? 255 : 0], 4 * (query * n + key));
    }));
    pen.putImageData(image, 0, 0);
  }

  function tell() {
    const head = model.get("head"), query = model.get("query"), weights = row(head, query), best = tops(weights)[0];
    write(say, sentence(head, query));
    frame.style.cssText = `top:${(100 * query) / n}%;height:${100 / n}%`;
    heads.value = head;
    text.inputs[query].checked = true;
    tokens.forEach((_, i) => {
      const unseen = causal && i > query;
      bars[i].style.setProperty("--share", weights[i]);
      write(shares[i], weights[i] < 0.005 ? "" : percent(weights[i]));
      text.choices[i].classList.toggle("fm-unseen", unseen);
      keys[i].classList.toggle("fm-top", i === best);
      queries[i].classList.toggle("fm-top", i === query);
    });
  }

  const stops = [follow(model, ["head"], paint), follow(model, ["head", "query"], tell)];
  return () => stops.forEach((stop) => stop());
}

export default { render };
