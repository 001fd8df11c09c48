"use strict";
// Draws the report from the JSON in #data. Whatever a stranger wrote becomes text, never markup:
// nothing here writes HTML, and attributes get fixed names.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const PAGE = 100;
  const STATES = {
    "": "all", look: "to look at", flagged: "flagged", unreadable: "could not be read",
    failed: "no result yet", waits: "waiting for a person",
  };

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((c) => c !== null && c !== undefined));
    return node;
  }
  const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const points = (x) => (x === null || x === undefined ? "–" : String(+x.toFixed(2)));
  const many = (n, one, more) => `${n.toLocaleString("en")} ${n === 1 ? one : more || one + "s"}`;
  const percent = (n, of) => `${of ? Math.round((100 * n) / of) : 0} %`;
  const exercise = (i) => `${data.exercises[i].era}/${data.exercises[i].stem}`;
  const named = (i) => el("span", { class: "name" }, `${data.exercises[i].era}/`, el("wbr"), data.exercises[i].stem);
  const seconds = (s) => `${s >= 10 ? Math.round(s).toLocaleString("en") : +s.toFixed(2)} s`;

  function button(label, act, attributes) {
    const made = el("button", { type: "button", ...attributes }, label);
    made.addEventListener("click", act);
    return made;
  }

  const word = (x) => (typeof x === "number" ? data.words[x] : x);
  const rows = data.rows.map((cells) => {
    const row = Object.fromEntries(data.columns.map((name, i) => [name, cells[i]]));
    row.flags = row.flags.map(([what, cell, line]) => [word(what), word(cell), line]);
    row.failed = row.failed.map(([check, message]) => [word(check), word(message)]);
    row.notes = row.notes.map(word);
    const of = data.exercises[row.exercise].spread.points;
    row.share = row.score === null ? -1 : of ? row.score / of : 0;
    row.who = row.name ? `${row.student} (${row.name})` : row.student;
    return row;
  });
  const order = new Intl.Collator("en", { numeric: true });  // slow, so each name is ranked once
  const everybody = [...new Set(rows.map((r) => r.who))].sort(order.compare);
  const rank = new Map(everybody.map((who, i) => [who, i]));
  for (const row of rows) row.rank = rank.get(row.who);
  const searched = (row) => (row.found ??= [row.who, exercise(row.exercise), row.why, ...row.flags.flat(),
    ...row.failed.flat(), ...row.notes].join("\n").toLowerCase());
  const needsLook = (row) => row.flags.length > 0 || row.state === "unreadable" || row.state === "failed";

  // ---- head -------------------------------------------------------------------------------------
  function head() {
    const students = new Set(rows.map((r) => r.student)).size;
    $("title").textContent = `Report: ${data.course}`;
    const tally = {};
    for (const e of data.exercises) for (const [s, n] of Object.entries(e.states)) tally[s] = (tally[s] || 0) + n;
    const said = [
      `${many(data.all, "submission")} of ${data.exercises.length === 1 ? exercise(0) : many(data.exercises.length, "exercise")}`,
      data.cut === "rows" ? null : `by ${many(students, "student")}`,
    ].filter(Boolean).join(" ");
    $("lead").append(`${said}: ${Object.entries(tally).map(([s, n]) => `${n.toLocaleString("en")} ${s}`).join(", ")}. ` +
      `Made ${data.made.replace("T", " ").slice(0, 16)} UTC by fmbook ${data.version}.`);
    if (data.cut) {
      $("lead").after(el("p", { class: "note" }, data.cut === "rows"
        ? "This class is too large for one page: the table lists only what needs a look and the slowest. All figures are of all submissions. Name an era for a page with every row."
        : "This class is too large for one page: the messages of ordinary submissions are left out of the table. Name an era for a page with all of them."));
    }
  }

  // ---- what a person should look at ---------------------------------------------------------------
  function finder(row) {
    return button(row.who, () => {
      $("q").value = row.student;
      $("exercise").value = String(row.exercise);
      $("state").value = "";
      redraw();
      $("h-rows").scrollIntoView();
      $("rows").querySelector("tbody button")?.focus();
    }, { class: "link" });
  }

  function list(title, found, say) {
    if (!found.length) return null;
    const items = found.map((row) => el("li", {}, finder(row), ` ${exercise(row.exercise)}: `, say(row)));
    const shown = el("ul", { class: "plain" }, items.slice(0, 12));
    const rest = items.slice(12);
    const more = rest.length
      ? button(`Show ${rest.length} more`, () => { shown.append(...rest); more.remove(); }) : null;
    return el("div", { class: "card" }, el("h3", {}, `${title} (${found.length.toLocaleString("en")})`), shown, more);
  }

  const flagSaid = ([what, cell, line]) => `${what}${cell ? ` in ${cell}` : ""}${line ? `, line ${line}` : ""}`;

  function look() {
    const parts = [
      list("Flagged", rows.filter((r) => r.flags.length), (r) => r.flags.map(flagSaid).join("; ")),
      list("Could not be read", rows.filter((r) => r.state === "unreadable"), (r) => `“${r.why}”`),
      list("No result: the machine's fault, not the student's", rows.filter((r) => r.state === "failed"), (r) => r.why || "run fmbook grade again"),
    ].filter(Boolean);
    const waits = data.exercises.filter((e) => e.waits);
    if (waits.length) {
      parts.push(el("div", { class: "card" }, el("h3", {}, "Waiting for a person"), el("ul", { class: "plain" },
        waits.map((e) => el("li", {}, `${e.era}/${e.stem}: ${many(e.waits, "written answer", "written answers")} to grade in formgrader`)))));
    }
    $("look").append(...(parts.length ? parts : [el("p", {}, "Nothing is flagged, and everything could be read.")]));
  }

  // ---- pictures ---------------------------------------------------------------------------------
  function histogram(title, spread) {
    const top = Math.max(1, ...spread.bins);
    const label = (i) => (i === 9 ? "90 to 100 %" : `${10 * i} to ${10 * i + 9} %`);
    const words = spread.bins.map((n, i) => (n ? `${label(i)}: ${n}` : null)).filter(Boolean).join("; ");
    const bars = spread.bins.map((n, i) => {
      const height = (88 * n) / top;
      return svg("g", {},
        svg("rect", { x: 4 + 34 * i, y: 108 - height, width: 30, height, class: "bar-hue" }),
        n ? svg("text", { x: 19 + 34 * i, y: 103 - height, class: "tick", "text-anchor": "middle" }, String(n)) : null);
    });
    const ticks = [0, 50, 100].map((p) => svg("text", {
      x: 4 + 3.4 * p, y: 124, class: "tick muted", "text-anchor": p === 0 ? "start" : p === 100 ? "end" : "middle",
    }, `${p} %`));
    return el("figure", {},
      el("figcaption", {}, title),
      svg("svg", { viewBox: "0 0 348 130", role: "img", "aria-label": `${title}: ${words || "no scores"}` },
        svg("line", { x1: 2, y1: 108.5, x2: 346, y2: 108.5, class: "axis" }), ...bars, ...ticks),
      el("p", { class: "small" }, spread.count
        ? `${many(spread.count, "student")}; mean ${points(spread.mean)}, median ${points(spread.median)} of ${points(spread.points)} points`
        : "no scores yet"));
  }

  const KINDS = [["full", "all points"], ["some", "some"], ["none", "none"], ["not_begun", "not begun"], ["waits", "waiting"]];

  function success(task) {
    const all = KINDS.reduce((sum, [kind]) => sum + task[kind], 0);
    const bar = el("div", { class: "bar", "aria-hidden": "true" }, KINDS.filter(([kind]) => task[kind]).map(([kind]) => {
      const part = el("span", { class: kind });
      part.style.width = `${(100 * task[kind]) / all}%`;
      return part;
    }));
    const said = KINDS.filter(([kind]) => task[kind]).map(([kind, words]) =>
      el("span", { class: "key" }, el("i", { class: kind, "aria-hidden": "true" }), ` ${words} ${task[kind]} (${percent(task[kind], all)})`));
    return el("li", {}, el("p", {}, el("b", {}, task.title), ` ${points(task.points)} points`), bar, el("p", { class: "small keys" }, said));
  }

  function scores() {
    for (const era of data.eras) {
      const own = data.exercises.filter((e) => e.era === era.era);
      $("scores").append(el("h3", {}, era.era));
      if (own.length > 1) {
        $("scores").append(el("div", { class: "card" }, histogram(`${era.era}, over ${era.stems.join(", ")}`, era.spread)));
      }
      for (const e of own) {
        $("scores").append(el("div", { class: "card pair" }, histogram(`${e.era}/${e.stem}`, e.spread),
          el("ul", { class: "tasks" }, e.tasks.map(success))));
      }
    }
  }

  function mistakes() {
    if (!data.mistakes.length) return void $("mistakes").append(el("p", {}, "No check has failed."));
    const names = { named: "", error: "raised", differs: "not a known mistake", other: "" };
    const body = data.mistakes.map((m) => el("tr", {},
      el("td", { class: "number" }, `${m.students}`), el("td", { class: "number" }, percent(m.students, m.of)),
      el("td", {}, m.words, el("p", { class: "small" }, `${exercise(m.exercise)}, ${m.task}`, names[m.kind] ? `: ${names[m.kind]}` : ""))));
    const table = el("table", {}, el("thead", {}, el("tr", {},
      ["Students", "Share", "What the check said"].map((t) => el("th", { scope: "col" }, t)))), el("tbody", {}, body.slice(0, 15)));
    const more = body.length > 15 ? button(`Show ${body.length - 15} more`, () => { table.tBodies[0].append(...body.slice(15)); more.remove(); }) : null;
    $("mistakes").append(el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Table of mistakes" }, table), ...(more ? [more] : []));
  }

  // ---- pairs ------------------------------------------------------------------------------------
  function alike() {
    if (!data.alike.length) return void $("alike").append(el("p", {}, "No two answers share more than their task explains."));
    const at = new Map(rows.map((row) => [`${row.exercise}/${row.student}`, row]));
    const who = (student, i) => (at.has(`${i}/${student}`) ? finder(at.get(`${i}/${student}`)) : student);
    const body = data.alike.map((p) => el("tr", {}, el("td", {}, who(p.one, p.exercise)), el("td", {}, who(p.other, p.exercise)),
      el("td", {}, named(p.exercise)), el("td", { class: "number" }, `${Math.round(100 * p.share)} %`), el("td", { class: "number" }, `${p.shared}`)));
    const table = el("table", {}, el("thead", {}, el("tr", {},
      ["One", "The other", "Exercise", "Of the smaller", "Marks shared"].map((t) => el("th", { scope: "col" }, t)))), el("tbody", {}, body.slice(0, 15)));
    const more = body.length > 15 ? button(`Show ${body.length - 15} more pairs`, () => { table.tBodies[0].append(...body.slice(15)); more.remove(); }) : null;
    $("alike").append(el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Table of pairs" }, table), ...(more ? [more] : []));
  }

  // ---- the table of submissions -----------------------------------------------------------------
  const COLUMNS = [
    ["Student", (a, b) => a.rank - b.rank],
    ["Exercise", (a, b) => a.exercise - b.exercise],
    ["Score", (a, b) => a.share - b.share],
    ["Remarks", (a, b) => remark(a).length - remark(b).length],
    ["Seconds", (a, b) => a.seconds - b.seconds],
    ["Finished", (a, b) => (a.finished < b.finished ? -1 : a.finished > b.finished ? 1 : 0)],
  ];
  let sorted = 0, up = 1, limit = PAGE;

  function remark(row) {
    const said = [];
    if (row.state !== "graded") said.push(STATES[row.state] || row.state);
    if (row.flags.length) said.push(many(row.flags.length, "flag"));
    if (row.waits) said.push("waiting for a person");
    if (row.penalty) said.push(`late: −${points(row.penalty)}`);
    if (row.tier === "in-process") said.push("in-process");
    return said.join(", ");
  }

  function detail(row) {
    const e = data.exercises[row.exercise];
    const parts = [];
    const add = (title, items) => {
      if (items.length) parts.push(el("dt", {}, title), ...items.map((i) => el("dd", {}, i)));
    };
    add("Why", row.why ? [row.why] : []);
    add("Flags", row.flags.map(flagSaid));
    add("Tasks", row.tasks.map((s, i) => `${e.tasks[i].title}: ${points(s)} of ${points(e.tasks[i].points)}`));
    add("Checks that failed", row.failed.map(([check, message]) => `${check}: ${message}`));
    add("Told the student", row.notes);
    add("Run", [`tier ${row.tier || "none"}; ${seconds(row.seconds)}; ${row.finished.replace("T", " ").slice(0, 19) || "not finished"}`, `seed ${row.seed || "none"}`]);
    return el("tr", { class: "detail" }, el("td", { colspan: COLUMNS.length }, el("dl", {}, parts)));
  }

  function line(row) {
    const opener = button(row.who, () => {
      const open = opener.getAttribute("aria-expanded") === "true";
      opener.setAttribute("aria-expanded", String(!open));
      if (open) tr.nextSibling.remove(); else tr.after(detail(row));
    }, { class: "opener", "aria-expanded": "false" });
    const of = data.exercises[row.exercise].spread.points;
    const score = row.score === null ? "–" : `${points(row.score)} of ${points(of)}`;
    const tr = el("tr", needsLook(row) ? { class: "look" } : {}, el("th", { scope: "row" }, opener), el("td", {}, named(row.exercise)),
      el("td", { class: "number" }, score), el("td", {}, remark(row)),
      el("td", { class: "number side" }, row.seconds ? seconds(row.seconds) : ""), el("td", { class: "side" }, row.finished.replace("T", " ").slice(0, 16)));
    return tr;
  }

  function chosen() {
    const q = $("q").value.trim().toLowerCase(), e = $("exercise").value, state = $("state").value;
    const fits = {
      "": () => true, look: needsLook, flagged: (r) => r.flags.length > 0, waits: (r) => r.waits,
      unreadable: (r) => r.state === "unreadable", failed: (r) => r.state === "failed",
    }[state];
    const found = rows.filter((r) => (e === "" || r.exercise === +e) && fits(r) && (!q || searched(r).includes(q)));
    const compare = COLUMNS[sorted][1];
    return found.sort((a, b) => up * compare(a, b) || a.rank - b.rank);
  }

  function redraw() {
    const found = chosen();
    $("rows").tBodies[0].replaceChildren(...found.slice(0, limit).map(line));
    const shown = Math.min(limit, found.length);
    $("count").textContent = `${many(found.length, "submission")} of ${rows.length.toLocaleString("en")}${shown < found.length ? `, the first ${shown} shown` : ""}`;
    $("more").hidden = shown === found.length;
    [...$("rows").tHead.rows[0].cells].forEach((th, i) =>
      th.setAttribute("aria-sort", i !== sorted ? "none" : up > 0 ? "ascending" : "descending"));
  }

  function table() {
    const sorters = COLUMNS.map(([title], i) => el("th", { scope: "col", class: i > 3 ? "side" : null }, button(title, () => {
      up = sorted === i ? -up : 1;
      sorted = i;
      redraw();
    }, { class: "sort" })));
    $("rows").tHead.append(el("tr", {}, sorters));
    $("exercise").append(el("option", { value: "" }, "all"), ...data.exercises.map((_, i) => el("option", { value: i }, exercise(i))));
    $("state").append(...Object.entries(STATES).map(([value, words]) => el("option", { value }, words)));
    for (const id of ["q", "exercise", "state"]) $(id).addEventListener("input", () => { limit = PAGE; redraw(); });
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("more").addEventListener("click", () => { limit = Infinity; redraw(); });
    redraw();
  }

  // ---- time and walls -----------------------------------------------------------------------------
  function times() {
    const t = data.times;
    if (t.median === null) return void $("times").append(el("p", {}, "Nothing was run."));
    $("times").append(el("p", {}, `${seconds(t.total)} in all; a submission took ${seconds(t.median)} in the median, 95 of 100 less than ${seconds(t.p95)}. The slowest:`),
      el("ul", { class: "plain" }, t.slowest.map((i) => el("li", {}, finder(rows[i]), ` ${exercise(rows[i].exercise)}: ${seconds(rows[i].seconds)}`))));
  }

  function walls() {
    const tiers = {};
    for (const row of rows) if (row.tier) tiers[row.tier] = (tiers[row.tier] || 0) + 1;
    const told = { isolated: "each check ran in a process of its own, away from the student's code", "in-process": "some checks ran in the student's process: lower assurance" };
    const layers = Object.entries(data.layers || {});
    const parts = [el("ul", { class: "plain" }, Object.entries(tiers).map(([tier, n]) => el("li", {}, el("b", {}, tier), ` ${many(n, "submission")}: ${told[tier] || ""}`)))];
    if (layers.length) {
      parts.push(el("h3", {}, "The sandbox, when submissions were last run"),
        el("ul", { class: "plain" }, layers.map(([name, said]) => el("li", { class: said.startsWith("active") ? "on" : "off" }, el("b", {}, name), ` ${said}`))));
    }
    parts.push(el("p", {}, "The inputs of a submission's checks come from its seed, which its row shows when it is opened; a regrade repeats it."));
    $("walls").append(...parts);
  }

  head(); look(); scores(); mistakes(); table(); alike(); times(); walls();
  document.documentElement.dataset.ready = "yes";
})();
