// The selected member, and the views that follow it.

const find = (selector) => document.querySelector(selector);
const read = (id) => JSON.parse(find(id).textContent);
const panels = new Map(
  [...document.querySelectorAll(".panel")].map((panel) => [panel.dataset.member, panel]),
);
/** Return the data attributes of a member. */
const data = (member) => panels.get(member)?.dataset;
const picture = (member) => panels.get(member)?.querySelector("img");
const wide = matchMedia("(min-width: 62rem)");
let selected;

function select(member) {
  panels.get(selected)?.setAttribute("aria-pressed", "false");
  selected = member;
  panels.get(member).setAttribute("aria-pressed", "true");
  find("#viewer").hidden = false;
  const { caption, facts, file = "" } = data(member);
  find("#label").textContent = caption;
  find("#facts").textContent = facts;
  find("#file").hidden = !picture(member);
  find("#file").href = file;
  find("#file").textContent = file.split("/").pop();
  showFilm();
  compare();
  drawCurves();
}

// Before and after, their difference, and the video

/** Show the chosen view; a member without a video shows the comparison instead. */
function showView() {
  const view = find("[name=view]:checked").value;
  find("#viewer").dataset.view = view === "film" && !data(selected).film ? "compare" : view;
}

/** Return [source, name] of the reference picture. */
function reference() {
  const against = find("#against").value;
  if (against === "content") {
    return [find(`#input-${data(selected).content}`)?.src, "content"];
  }
  if (against === "start") return [data(selected).start, "start"];
  return [picture(against)?.src, data(against)?.label];
}

async function compare() {
  const [source, name] = reference();
  const result = picture(selected)?.src;
  find("#compare").hidden = !result;
  find("#difference").hidden = !result || !source;
  if (!result) return;
  const [after, before] = [find("#after"), find("#before")];
  after.src = result;
  after.alt = data(selected).caption;
  before.hidden = find("#cut").hidden = find(".handle").hidden = !source;
  find("#before-name").textContent = source ? `left: ${name}` : "";
  find("#after-name").textContent = source ? `right: ${data(selected).label}` : "";
  if (!source) return;
  before.src = source;
  before.alt = name;
  try {
    await Promise.all([after.decode(), before.decode()]);
  } catch {
    return; // Another member was selected meanwhile.
  }
  drawDifference(after, before);
}

/** Draw gain × |after − before| at the size of `after`; black is equal. */
function drawDifference(after, before) {
  const canvas = find("canvas");
  const [width, height] = [after.naturalWidth, after.naturalHeight];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pixels = (image) => {
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  };
  const [output, beforeData] = [pixels(after), pixels(before).data];
  const gain = Number(find("#gain").value);
  let sum = 0;
  for (let i = 0; i < beforeData.length; i++) {
    if (i % 4 === 3) continue; // The alpha channel.
    const change = Math.abs(output.data[i] - beforeData[i]);
    sum += change;
    output.data[i] = gain * change;
  }
  context.putImageData(output, 0, 0);
  const mean = sum / (0.75 * beforeData.length) / 255;
  find("#mean").textContent = `mean ${mean.toFixed(4)} of the range 0 to 1`;
}

function showFilm() {
  const source = data(selected).film;
  const [video, link] = [find("#film video"), find("#film a")];
  find("#film").hidden = !source;
  video.hidden = !source?.startsWith("data:");
  if (video.hidden) video.removeAttribute("src");
  else video.src = source;
  link.href = `members/${selected.padStart(3, "0")}/making_of.mp4`;
  showView();
}

find("#cut").addEventListener("input", (event) => {
  find(".stage").style.setProperty("--cut", `${event.target.value}%`);
});
find("#gain").addEventListener("input", (event) => {
  find("#gain-value").textContent = event.target.value;
  compare();
});
find(".against").hidden = !find("#against").options.length;
find("#against").addEventListener("change", compare);
find(".tabs").addEventListener("change", showView);

// Panels, and the pages of the outer axes

for (const [member, panel] of panels) {
  panel.addEventListener("click", () => {
    select(member);
    if (!wide.matches) find("#viewer").scrollIntoView({ behavior: "smooth" });
  });
}

/** Move the focus between panels by arrow keys. */
find("#panels").addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const panel = event.target.closest(".panel");
  if (!panel || !(event.key in moves)) return;
  const [down, right] = moves[event.key];
  const row = panel.closest("tr");
  const neighbour = row
    ? row.parentElement.rows[row.sectionRowIndex + down]?.cells[
        panel.parentElement.cellIndex + right
      ]?.querySelector(".panel")
    : (down + right > 0 ? panel.nextElementSibling : panel.previousElementSibling);
  neighbour?.focus();
  event.preventDefault();
});

find("#selectors")?.addEventListener("change", () => {
  const page = [...document.querySelectorAll("#selectors select")].map((s) => Number(s.value));
  for (const element of document.querySelectorAll(".page")) {
    element.hidden = element.dataset.page !== page.join();
  }
  // Keep the row and the column.
  const index = [...page, ...data(selected).index.split(",").slice(-2)].join();
  const panel = find(`.panel[data-index="${index}"]`);
  if (panel) select(panel.dataset.member);
});

// Curves

let curves;
/** Escape a text for Plotly, which interprets tags. */
const escapeTags = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Decompress and run Plotly, then draw. */
async function loadPlotly() {
  const compressed = Uint8Array.from(atob(find("#plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  curves = read("#curves");
  drawCurves();
}

function drawCurves() {
  if (!curves) return;
  const columns = curves.members[selected];
  const style = getComputedStyle(document.documentElement);
  const [ink, faint, line, accent] = ["--ink", "--faint", "--line", "--accent"].map((name) =>
    style.getPropertyValue(name).trim(),
  );
  const trace = (member, values, name, style) => ({
    x: curves.members[member].step, y: values, name: escapeTags(name), mode: "lines", ...style,
  });
  const total = [];
  if (curves.band) {
    const { step, low, median, high } = curves.band;
    const edge = { x: step, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
    total.push(
      { ...edge, y: low, showlegend: false },
      { ...edge, y: high, fill: "tonexty", fillcolor: `${faint}40`, name: "10 % to 90 %" },
      { x: step, y: median, name: "median", mode: "lines", line: { color: faint, width: 1.5 } },
    );
  } else {
    for (const [member, { loss }] of Object.entries(curves.members)) {
      if (member === selected) continue;
      const lineStyle = { line: { color: faint, width: 1 }, opacity: 0.6, customdata: loss.map(() => member) };
      total.push({ ...trace(member, loss, data(member)?.label ?? "", lineStyle), showlegend: false });
    }
  }
  const terms = [];
  if (columns) {
    const lineStyle = { line: { color: accent, width: 2.5 } };
    total.push(trace(selected, columns.loss, data(selected).label, lineStyle));
    terms.push(trace(selected, columns.loss, "total", { line: { color: ink, width: 2.5 } }));
    for (const [term, values] of Object.entries(columns.terms)) {
      terms.push(trace(selected, values, term, { line: { width: 1.5 } }));
    }
  }
  const axis = { gridcolor: line, linecolor: line, zeroline: false, automargin: true };
  const layout = (title) => ({
    title: { text: title, font: { size: 14 }, x: 0, xref: "paper" },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: "system-ui, sans-serif", size: 12, color: ink },
    margin: { l: 8, r: 8, t: 40, b: 8 },
    xaxis: axis,
    yaxis: { ...axis, type: "log", exponentformat: "power", nticks: 6 },
    legend: { orientation: "h", y: -0.1, yanchor: "top" },
    colorway: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b61c4"],
    showlegend: true,
    hovermode: "closest",
    hoverlabel: { namelength: -1 },
  });
  const options = { responsive: true, displaylogo: false, displayModeBar: false };
  Plotly.react("terms", terms, layout(`Terms by step, ${escapeTags(data(selected).label)}`), options);
  const chart = find("#total");
  if (!chart) return; // One member: the total is drawn with its terms.
  Plotly.react(chart, total, layout("Total by step"), options);
  chart.removeAllListeners("plotly_click");
  chart.on("plotly_click", ({ points }) => {
    if (points[0].customdata) select(points[0].customdata);
  });
}

if (find("#plotly").textContent) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    loadPlotly();
  }, { rootMargin: "300px" });
  observer.observe(find("#loss"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCurves);
}

// The header

find("#copy").addEventListener("click", async () => {
  const command = find("#command");
  getSelection().selectAllChildren(command);
  try {
    await navigator.clipboard.writeText(command.textContent);
    find("#copy").textContent = "Copied";
  } catch {
    find("#copy").textContent = "Selected"; // Some browsers deny files the clipboard.
  }
});

const first = [...panels.keys()].find(picture) ?? [...panels.keys()][0];
if (first !== undefined) select(first);
