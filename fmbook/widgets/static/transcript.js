const shown = (text) => text.replaceAll("\n", "↵").replaceAll(" ", "␣") || "∅";
const share = (thousandths) => (thousandths < 5 ? "under 1\u202f%" : percent(thousandths / 1000));

function render({ model, el }) {
  const who = model.get("who"), what = model.get("what");
  const tokens = what.filter((said) => typeof said !== "string").flat();
  const open = (token) => put(model, { token });

  // One group of radio buttons over all that the model said; its tokens stand inside the turns.
  const text = radios("Open a token: what else the model might have said there", "fm-choices",
    tokens.map(([[said, chance]]) => [h("b", {}, said.replaceAll("\n", "↵")), h("i", { class: "fm-bar", style: `--share:${chance / 1000}` })]), open);
  text.choices.forEach((choice, i) => choice.addEventListener("pointerenter", (event) => {
    if (event.pointerType === "mouse") open(i);
  }));
  let next = 0;
  const turns = what.map((said, i) => {
    const own = typeof said !== "string";
    const inside = own ? text.choices.slice(next, next += said.length) : [said];
    return h("div", { class: `fm-turn${own ? " fm-own" : ""}` }, h("small", {}, who[i]), h("div", { class: "fm-said" }, ...inside));
  });
  text.box.append(...turns);

  // The choices at the opened token: as many rows as the most choices, so that nothing moves.
  const most = Math.max(...tokens.map((choices) => choices.length));
  const rows = Array.from({ length: most }, () => ({ name: h("b"), bar: h("i", { class: "fm-bar" }), chance: h("small") }));
  const list = h("ul", { class: "fm-rows", "aria-label": "Choices at this token, the one that was said marked" },
    ...rows.map(({ name, bar, chance }) => h("li", {}, name, bar, chance)));

  function sentence(token) {
    const [[said, chance], ...others] = tokens[token];
    const rest = others.map(([other, c]) => `${quoted(shown(other))} with ${share(c)}`);
    const instead = rest.length ? `; beside it ${listed(rest.slice(0, 3))}` : "";
    return `Token ${token + 1} of ${tokens.length}: ${quoted(shown(said))} had ${share(chance)}${instead}.`;
  }
  const { say, box } = speaker(longest(tokens.map((_, i) => sentence(i))));
  el.append(h("div", { class: "fm-root fm-transcript", role: "group", "aria-label": model.get("alt") },
    h("div", { class: "fm-two" }, text.box, h("div", { class: "fm-side" }, box, list))));

  return follow(model, ["token"], () => {
    const token = model.get("token"), said = tokens[token][0];
    const order = [...tokens[token]].sort((a, b) => b[1] - a[1]);
    text.inputs[token].checked = true;
    write(say, sentence(token));
    rows.forEach(({ name, bar, chance }, i) => {
      const choice = order[i];
      write(name, choice ? shown(choice[0]) : "");
      write(chance, choice ? share(choice[1]) : "");
      bar.style.setProperty("--share", choice ? choice[1] / 1000 : 0);
      name.parentNode.classList.toggle("fm-top", choice === said);
      name.parentNode.classList.toggle("fm-none", !choice);
    });
  });
}

export default { render };
