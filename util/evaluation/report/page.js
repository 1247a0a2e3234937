"use strict";

// Headings sort: numbers from large to small at first, names from A to Z; what has no value goes last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const body = table.tBodies[0], rows = [...body.rows];
    const values = new Map(rows.map(row => [row, row.cells[column].dataset.value]));
    const numeric = rows.every(row => row.cells[column].tagName === "TD" && !isNaN(values.get(row)));
    const before = head.getAttribute("aria-sort");
    const down = before === "none" ? numeric : before === "ascending";
    heads.forEach(other => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const order = numeric ? (x, y) => x - y : (x, y) => x.localeCompare(y, "en", {numeric: true});
    rows.sort((one, two) => {
      const x = values.get(one), y = values.get(two);
      if (x === "" || y === "") return (x === "") - (y === "");
      return down ? order(y, x) : order(x, y);
    });
    body.append(...rows);
    follow(table.closest("section"), rows);
  }));
}

// The cards follow the order of the rows, each where its image comes first.
function follow(section, rows) {
  const cards = section.querySelector(".cards");
  const order = [...new Set(rows.map(row => row.dataset.card))];
  for (const id of order) {
    const card = document.getElementById(id);
    if (card) cards.append(card);
  }
}

// Filters hide rows that do not fit, and the cards of which no row is left.
for (const filters of document.querySelectorAll(".filters")) {
  const section = filters.closest("section"), get = name => filters.querySelector("." + name);
  const apply = () => {
    const heads = [...section.querySelectorAll(".sortable thead th")];
    const column = heads.findIndex(head => head.dataset.metric === get("by").value);
    const low = get("from").value === "" ? -Infinity : +get("from").value;
    const high = get("to").value === "" ? Infinity : +get("to").value;
    const part = get("named").value.toLowerCase(), kept = new Set(), rows = [...section.querySelectorAll(".sortable tbody tr")];
    let left = 0;
    for (const row of rows) {
      const value = column < 0 ? 0 : row.cells[column].dataset.value;
      const inside = column < 0 || (value !== "" && +value >= low && +value <= high);
      row.hidden = !(inside && row.cells[0].dataset.value.toLowerCase().includes(part));
      if (!row.hidden) { kept.add(row.dataset.card); left += 1; }
    }
    for (const card of section.querySelectorAll(".card")) card.hidden = !kept.has(card.id);
    get("left").textContent = left < rows.length ? `${left} of ${rows.length} rows` : "";
  };
  filters.addEventListener("input", apply);
}

// The full window shows two images of a card: with a divider, in turns, their difference, or side by side.
const viewer = document.getElementById("viewer"), panes = viewer.querySelector(".panes");
const MODES = {slider: "s", blink: "b", difference: "d", side: "p"};
const view = {card: null, mode: "slider", scale: 1, x: 0, y: 0, split: .5, timer: 0, front: true};
const choice = side => viewer.querySelector(`.${side}-choice`);
for (const mode of Object.keys(MODES)) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = mode === "side" ? "side by side" : mode;
  button.dataset.mode = mode;
  button.addEventListener("click", () => setMode(mode));
  viewer.querySelector(".modes").append(button, " ");
}
const pictures = () => [...view.card.querySelectorAll(".stage img")];
function openCard(card, fit = true) {
  view.card = card;
  viewer.querySelector(".stem").textContent = card.querySelector("figcaption").firstChild.textContent;
  const images = pictures(), before = {left: choice("left").value, right: choice("right").value};
  for (const side of ["left", "right"]) {
    choice(side).replaceChildren(...images.map((image, index) => new Option(image.dataset.label, index)));
    const usual = side === "left" ? 0 : images.length > 3 ? 1 : images.length - 1;
    choice(side).value = before[side] !== "" && before[side] < images.length ? before[side] : usual;
  }
  if (!viewer.open) viewer.showModal();
  build();
  if (fit) whole();
}
function build() {
  const images = pictures(), chosen = ["left", "right"].map(side => images[choice(side).value]);
  const copies = chosen.map((image, index) => {
    const copy = image.cloneNode();
    copy.hidden = false;
    copy.className = index ? "right" : "left";
    return copy;
  });
  const pane = (...parts) => { const box = document.createElement("div"); box.className = "pane"; box.append(...parts); return box; };
  panes.className = `panes ${view.mode}`;
  panes.replaceChildren(...(view.mode === "side" ? copies.map(copy => pane(copy)) : [pane(...copies)]));
  const tags = chosen.map((image, index) => {
    const tag = document.createElement("span");
    tag.className = index ? "now two" : "now";
    tag.textContent = image.dataset.label;
    return tag;
  });
  panes.append(...tags);
  if (view.mode === "slider") panes.append(Object.assign(document.createElement("i"), {className: "line"}));
  for (const button of viewer.querySelectorAll(".modes button"))
    button.setAttribute("aria-pressed", button.dataset.mode === view.mode);
  clearInterval(view.timer);
  if (view.mode === "blink") view.timer = setInterval(() => { view.front = !view.front; place(); }, 600);
  place();
}
function place() {
  const [left, right] = panes.querySelectorAll("img"), tags = panes.querySelectorAll(".now");
  for (const image of [left, right]) image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  right.style.clipPath = "";
  right.style.visibility = "";
  if (view.mode === "slider") {
    const cut = (view.split * panes.clientWidth - view.x) / view.scale;
    right.style.clipPath = `inset(0 0 0 ${Math.max(0, cut)}px)`;
    panes.querySelector(".line").style.left = `${100 * view.split}%`;
  }
  if (view.mode === "blink") right.style.visibility = view.front ? "hidden" : "visible";
  tags[0].hidden = view.mode === "blink" && !view.front;
  tags[1].hidden = view.mode === "blink" && view.front;
}
function whole() {
  const image = panes.querySelector("img"), box = panes.querySelector(".pane").getBoundingClientRect();
  view.scale = Math.min(box.width / image.width, box.height / image.height);
  view.x = (box.width - image.width * view.scale) / 2;
  view.y = (box.height - image.height * view.scale) / 2;
  place();
}
function zoom(factor, x, y) {
  const scale = Math.min(40, Math.max(.1, view.scale * factor));
  view.x = x - (x - view.x) * scale / view.scale;
  view.y = y - (y - view.y) * scale / view.scale;
  view.scale = scale;
  place();
}
function divide(at) {
  view.split = Math.min(1, Math.max(0, at));
  place();
}
function setMode(mode) {
  const again = (mode === "side") !== (view.mode === "side");
  view.mode = mode;
  view.front = true;
  build();
  if (again) whole();
}
function turn(step) {
  const cards = [...view.card.parentElement.querySelectorAll(".card:not([hidden])")];
  openCard(cards[(cards.indexOf(view.card) + step + cards.length) % cards.length]);
}
function show(label) {
  const images = pictures(), index = images.findIndex(image => image.classList.contains(label));
  choice("left").value = index;
  view.mode = "slider";
  view.split = 1;
  build();
}
for (const button of document.querySelectorAll(".card .open"))
  button.addEventListener("click", () => openCard(button.closest(".card")));
for (const side of ["left", "right"]) choice(side).addEventListener("change", build);
viewer.querySelector(".close").addEventListener("click", () => viewer.close());
viewer.querySelector(".next").addEventListener("click", () => turn(1));
viewer.querySelector(".previous").addEventListener("click", () => turn(-1));
viewer.addEventListener("close", () => clearInterval(view.timer));
viewer.addEventListener("keydown", event => {
  if (event.target.tagName === "SELECT" || event.ctrlKey || event.altKey || event.metaKey) return;
  const middle = [panes.querySelector(".pane").clientWidth / 2, panes.clientHeight / 2];
  const actions = {
    "1": () => show("ir"), "2": () => show("vi"), f: () => show("fused"),
    "+": () => zoom(1.25, ...middle), "=": () => zoom(1.25, ...middle), "-": () => zoom(.8, ...middle), "0": whole,
    ArrowRight: () => turn(1), ArrowLeft: () => turn(-1),
    ",": () => divide(view.split - .02), ".": () => divide(view.split + .02),
  };
  for (const [mode, key] of Object.entries(MODES)) actions[key] = () => setMode(mode);
  if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
});
panes.addEventListener("wheel", event => {
  event.preventDefault();
  const pane = event.target.closest(".pane") || panes, box = pane.getBoundingClientRect();
  zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - box.left, event.clientY - box.top);
}, {passive: false});
let grip = null;
panes.addEventListener("pointerdown", event => {
  const at = event.clientX / panes.clientWidth;
  grip = {x: event.clientX, y: event.clientY, divider: view.mode === "slider" && Math.abs(at - view.split) < .03};
  panes.setPointerCapture(event.pointerId);
});
panes.addEventListener("pointermove", event => {
  if (!grip) {
    panes.style.cursor = view.mode === "slider" && Math.abs(event.clientX / panes.clientWidth - view.split) < .03 ? "ew-resize" : "grab";
    return;
  }
  if (!grip.divider) { view.x += event.clientX - grip.x; view.y += event.clientY - grip.y; }
  Object.assign(grip, {x: event.clientX, y: event.clientY});
  divide(grip.divider ? event.clientX / panes.clientWidth : view.split);
});
for (const end of ["pointerup", "pointercancel"]) panes.addEventListener(end, () => { grip = null; });
window.addEventListener("resize", () => viewer.open && whole());

// Up to divider a the first source is shown, from divider b on the second, between them the fused image.
for (const card of document.querySelectorAll(".card")) {
  const stage = card.querySelector(".stage");
  const inputs = {a: card.querySelector("input.a"), b: card.querySelector("input.b")};
  const show = (a, b) => {
    inputs.a.value = a;
    inputs.b.value = b;
    stage.style.setProperty("--a", a + "%");
    stage.style.setProperty("--b", b + "%");
    for (const [side, width] of [["ir", a], ["fused", b - a], ["vi", 100 - b]])
      card.querySelector(".tag." + side).hidden = width < 16;
    // where both thumbs meet, the one that can still move lies on top
    inputs.a.style.zIndex = a > 50 ? 1 : 0;
  };
  const move = (name, value) => {
    const a = +inputs.a.value, b = +inputs.b.value;
    if (name === "a") show(value, Math.max(value, b));
    else show(Math.min(a, value), value);
  };
  for (const name of ["a", "b"]) inputs[name].addEventListener("input", () => move(name, +inputs[name].value));
  for (const button of card.querySelectorAll(".presets button"))
    button.addEventListener("click", () => show(+button.dataset.a, +button.dataset.b));

  let held = null;
  const place = event => {
    const box = stage.getBoundingClientRect();
    return Math.round(Math.min(100, Math.max(0, 100 * (event.clientX - box.left) / box.width)));
  };
  stage.addEventListener("pointerdown", event => {
    const x = place(event), a = +inputs.a.value, b = +inputs.b.value;
    held = a === b ? (x < a ? "a" : "b") : Math.abs(x - a) <= Math.abs(x - b) ? "a" : "b";
    stage.setPointerCapture(event.pointerId);
    move(held, x);
  });
  stage.addEventListener("pointermove", event => held && move(held, place(event)));
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { held = null; });
  show(+inputs.a.value, +inputs.b.value);
}

// The choice of a method applies to every pair of its data set that the method has fused.
for (const radio of document.querySelectorAll(".methods input"))
  radio.addEventListener("change", () => {
    for (const card of radio.closest("section").querySelectorAll(".card"))
      if (card.querySelector(`img[data-method="${radio.value}"]`))
        for (const part of card.querySelectorAll("[data-method]")) part.hidden = part.dataset.method !== radio.value;
  });
