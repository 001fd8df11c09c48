function render({ model, el }) {
  const mails = model.get("mails"), filters = mails[0].verdicts.map((said) => said.filter);
  const right = (mail, said) => said.verdict === mail.truth;
  const pick = (mail) => put(model, { mail });

  // The mailbox: a list where there is room, a select where there is not.
  const box = radios("Choose an e-mail", "fm-box", mails.map((mail) => [h("span", {}, mail.subject)]), pick);
  const menu = h("select", { class: "fm-menu", "aria-label": "Choose an e-mail", change: () => pick(+menu.value) },
    ...mails.map((mail, i) => h("option", { value: i }, mail.subject)));

  // All mails lie on one another and one is seen, so that nothing below moves.
  const word = (kind) => h("b", { class: `fm-${kind}` }, kind);
  const letters = mails.map((mail) => h("div", { class: "fm-letter" },
    h("p", { class: "fm-subject" }, mail.subject), h("p", { class: "fm-sender" }, "from ", h("bdi", {}, mail.sender)),
    h("blockquote", {}, mail.excerpt)));
  const judged = mails.map((mail) => h("ul", {}, ...mail.verdicts.map((said) => h("li", {},
    h("p", {}, h("strong", {}, said.filter), " says ", word(said.verdict),
      h("span", { class: right(mail, said) ? "fm-right" : "fm-wrong" }, right(mail, said) ? "✓ right" : "✗ wrong")),
    h("p", { class: "fm-reason" }, said.reason)))));

  const named = (mail, good) => listed(mail.verdicts.filter((said) => right(mail, said) === good).map((said) => said.filter));
  function sentence(mail) {
    const kind = mail.truth === "ham" ? "ham (wanted mail)" : "spam";
    const groups = [["Right", named(mail, true)], ["Wrong", named(mail, false)]].filter(([, names]) => names);
    return `In truth ${quoted(mail.subject)} is ${kind}. ${groups.map(([word, names]) => `${word}: ${names}.`).join(" ")}`;
  }
  const { say, box: sentences } = speaker(longest(mails.map(sentence)));
  const tally = filters.map((name, i) => `${name} ${mails.filter((mail) => right(mail, mail.verdicts[i])).length}`);
  el.append(h("div", { class: "fm-root fm-mail", role: "group", "aria-label": model.get("alt") },
    h("div", { class: "fm-grid" }, box.box, menu, h("div", {}, h("div", { class: "fm-stack" }, ...letters), sentences,
      h("div", { class: "fm-stack" }, ...judged),
      h("p", { class: "fm-tally" }, `Right on these ${counted(mails.length, "mail")}: ${listed(tally)}.`)))));

  return follow(model, ["mail"], () => {
    const chosen = model.get("mail");
    write(say, sentence(mails[chosen]));
    box.inputs[chosen].checked = true;
    menu.value = chosen;
    [letters, judged].forEach((pile) => pile.forEach((sheet, i) => sheet.classList.toggle("fm-under", i !== chosen)));
  });
}

export default { render };
