"use strict";
// Copying, sorting, filtering, and what is folded when the page is printed.
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  const copied = (button) => {
    const said = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = said; }, 1500);
  };
  // Pages that are opened as files may have no clipboard.
  const selectAndCopy = (text) => {
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  for (const button of all("button.copy")) {
    button.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(button.dataset.text); } catch { selectAndCopy(button.dataset.text); }
      copied(button);
    });
  }

  // Numbers before words; what is no number at all comes last in either direction.
  const key = (row, index) => {
    const text = row.cells[index].textContent.trim().replaceAll("−", "-").replaceAll(",", "");
    const number = parseFloat(text);
    return Number.isNaN(number) ? (text && text !== "–" ? text.toLowerCase() : null) : number;
  };
  const order = (a, b) => {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  };
  const sort = (table, index, direction) => {
    const rows = all("tr", table.tBodies[0]).map((row) => [key(row, index), row]);
    rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : direction * order(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    heads.forEach((head, index) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "sort" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(table, index, down ? -1 : 1);
      });
    });
  }

  // On a narrow screen the cells of a folded row say what they are.
  for (const table of all("table.folds")) {
    const names = all("thead th", table).map((head) => head.textContent.trim());
    for (const row of table.tBodies[0].rows) {
      Array.from(row.cells).forEach((cell, index) => { cell.dataset.label = names[index]; });
    }
  }

  for (const filter of all(".filter")) {
    const buttons = all("button", filter);
    const table = filter.nextElementSibling.querySelector("table");
    const show = (chosen) => {
      let count = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = Boolean(chosen) && row.dataset.verdict !== chosen;
        count += !row.hidden;
      }
      buttons.forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.verdict === chosen)));
      filter.querySelector("output").textContent = `${count} rows`;
    };
    buttons.forEach((button) => button.addEventListener("click", () => show(button.dataset.verdict)));
    show("");
  }

  const narrow = matchMedia("(max-width: 68rem)");
  const foldContents = () => all(".contents details").forEach((one) => { one.open = !narrow.matches; });
  narrow.addEventListener("change", foldContents);
  foldContents();

  const openTo = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target && target.parentElement.querySelector(":scope > details.fold");
    if (folded) folded.open = true;
  };
  addEventListener("hashchange", openTo);
  openTo();

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));
})();
