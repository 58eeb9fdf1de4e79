// What moves on the page: the selected member, and all that follows it.

const find = (selector) => document.querySelector(selector);
const read = (id) => JSON.parse(find(id).textContent);
const { members, starts, films } = read("#data");
const panels = new Map(
  [...document.querySelectorAll(".panel")].map((panel) => [panel.dataset.member, panel]),
);
const picture = (member) => panels.get(member)?.querySelector("img");
const wide = matchMedia("(min-width: 62rem)");
let selected;

function select(member) {
  panels.get(selected)?.setAttribute("aria-pressed", "false");
  selected = member;
  panels.get(member).setAttribute("aria-pressed", "true");
  find("#viewer").hidden = false;
  find("#label").textContent = members[member].caption;
  find("#facts").textContent = members[member].facts;
  find("#file").hidden = !picture(member);
  find("#file").href = `members/${members[member].file}`;
  find("#file").textContent = members[member].file.split("/").pop();
  film();
  view();
  drawCurves();
}

// Before and after, their difference, and the film

/** Of many members one view is shown at a time, for the panels to stay in sight. */
function turn() {
  const wanted = find("[name=view]:checked").value;
  find("#viewer").dataset.view = wanted === "film" && !films[selected] ? "compare" : wanted;
}

/** What the selected member is compared with: [source, name]. */
function compared() {
  const against = find("#against").value;
  if (against === "content") {
    return [find(`#input-${members[selected].content}`)?.src, "content"];
  }
  if (against === "start") return [starts[selected], "start"];
  return [picture(against)?.src, members[against]?.label];
}

async function view() {
  const [source, name] = compared();
  const own = picture(selected)?.src;
  find("#compare").hidden = !own;
  find("#difference").hidden = !own || !source;
  if (!own) return;
  const [after, before] = [find("#after"), find("#before")];
  after.src = own;
  after.alt = members[selected].caption;
  before.hidden = find("#cut").hidden = find(".handle").hidden = !source;
  find("#before-name").textContent = source ? `left: ${name}` : "";
  find("#after-name").textContent = source ? `right: ${members[selected].label}` : "";
  if (!source) return;
  before.src = source;
  before.alt = name;
  try {
    await Promise.all([after.decode(), before.decode()]);
  } catch {
    return; // Another member was chosen meanwhile, and has its own turn.
  }
  difference(after, before);
}

/** Draws |after − before| times the gain, at the size of `after`; black is equal. */
function difference(after, before) {
  const canvas = find("canvas");
  const [width, height] = [after.naturalWidth, after.naturalHeight];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pixels = (image) => {
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  };
  const [drawn, other] = [pixels(after), pixels(before).data];
  const gain = Number(find("#gain").value);
  let sum = 0;
  for (let i = 0; i < other.length; i++) {
    if (i % 4 === 3) continue; // Opaque it stays.
    const apart = Math.abs(drawn.data[i] - other[i]);
    sum += apart;
    drawn.data[i] = gain * apart;
  }
  context.putImageData(drawn, 0, 0);
  const mean = sum / (0.75 * other.length) / 255;
  find("#mean").textContent = `mean ${mean.toFixed(4)} of the range 0 to 1`;
}

function film() {
  const source = films[selected];
  const [video, link] = [find("#film video"), find("#film a")];
  find("#film").hidden = !source;
  video.hidden = !source?.startsWith("data:");
  if (video.hidden) video.removeAttribute("src");
  else video.src = source;
  link.href = `members/${selected.padStart(3, "0")}/making_of.mp4`;
  turn();
}

find("#cut").addEventListener("input", (event) => {
  find(".stage").style.setProperty("--cut", `${event.target.value}%`);
});
find("#gain").addEventListener("input", (event) => {
  find("#gain-value").textContent = event.target.value;
  view();
});
find(".against").hidden = !find("#against").options.length;
find("#against").addEventListener("change", view);
find(".tabs").addEventListener("change", turn);

// Panels, and the pages of the outer axes

for (const [member, panel] of panels) {
  panel.addEventListener("click", () => {
    select(member);
    if (!wide.matches) find("#viewer").scrollIntoView({ behavior: "smooth" });
  });
}

/** Arrow keys walk from panel to panel. */
find("#panels").addEventListener("keydown", (event) => {
  const turn = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const panel = event.target.closest(".panel");
  if (!panel || !(event.key in turn)) return;
  const [down, right] = turn[event.key];
  const row = panel.closest("tr");
  const near = row
    ? row.parentElement.rows[row.sectionRowIndex + down]?.cells[
        panel.parentElement.cellIndex + right
      ]?.querySelector(".panel")
    : (down + right > 0 ? panel.nextElementSibling : panel.previousElementSibling);
  near?.focus();
  event.preventDefault();
});

find("#selectors")?.addEventListener("change", () => {
  const page = [...document.querySelectorAll("#selectors select")].map((s) => Number(s.value));
  for (const element of document.querySelectorAll(".page")) {
    element.hidden = element.dataset.page !== page.join();
  }
  // The same row and column as before, on the new page.
  const place = [...page, ...members[selected].index.slice(-2)].join();
  const same = Object.keys(members).find((member) => members[member].index.join() === place);
  if (same) select(same);
});

// Curves

let curves;
/** Text as it is, for Plotly takes tags in it. */
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Unpacks the library that draws, once. */
async function unpack() {
  const packed = Uint8Array.from(atob(find("#plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  curves = read("#curves");
  drawCurves();
}

function drawCurves() {
  if (!curves) return;
  const own = curves.members[selected];
  const style = getComputedStyle(document.documentElement);
  const [ink, faint, line, accent] = ["--ink", "--faint", "--line", "--accent"].map((name) =>
    style.getPropertyValue(name).trim(),
  );
  const drawing = (member, values, name, look) => ({
    x: curves.members[member].step, y: values, name: plain(name), mode: "lines", ...look,
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
      const look = { line: { color: faint, width: 1 }, opacity: 0.6, customdata: loss.map(() => member) };
      total.push({ ...drawing(member, loss, members[member].label, look), showlegend: false });
    }
  }
  const terms = [];
  if (own) {
    const look = { line: { color: accent, width: 2.5 } };
    total.push(drawing(selected, own.loss, members[selected].label, look));
    terms.push(drawing(selected, own.loss, "total", { line: { color: ink, width: 2.5 } }));
    for (const [term, values] of Object.entries(own.terms)) {
      terms.push(drawing(selected, values, term, { line: { width: 1.5 } }));
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
  Plotly.react("terms", terms, layout(`Terms by step, ${plain(members[selected].label)}`), options);
  const chart = find("#total");
  if (!chart) return; // One member: its total is among its terms.
  Plotly.react(chart, total, layout("Total by step"), options);
  chart.removeAllListeners("plotly_click");
  chart.on("plotly_click", ({ points }) => {
    if (points[0].customdata) select(points[0].customdata);
  });
}

if (find("#plotly").textContent) {
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    unpack();
  }, { rootMargin: "300px" });
  near.observe(find("#loss"));
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
    find("#copy").textContent = "Selected"; // Not all browsers let a file write there.
  }
});

const first = [...panels.keys()].find(picture) ?? [...panels.keys()][0];
if (first !== undefined) select(first);
