// A small line of what a figure was lately.

const svg = "http://www.w3.org/2000/svg";
const width = 120;
const height = 32;

/** fewest keeps the first values from being stretched over the whole width. */
const fewest = 20;

/** spark returns {node, draw}; draw takes the values, oldest first. */
export function spark() {
  const node = shape("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const area = shape("path", { class: "area" });
  const stroke = shape("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  node.append(area, stroke);
  return {
    node,
    draw(values) {
      if (values.length < 2) return;
      const steps = Math.max(values.length, fewest) - 1;
      const top = Math.max(...values) * 1.1 || 1;
      const x = (i) => (width - ((values.length - 1 - i) * width) / steps).toFixed(1);
      const y = (v) => (height - 1 - (v / top) * (height - 3)).toFixed(1);
      const points = values.map((v, i) => `${x(i)} ${y(v)}`).join("L");
      stroke.setAttribute("d", `M${points}`);
      area.setAttribute("d", `M${x(0)} ${height}L${points}L${width} ${height}Z`);
    },
  };
}

function shape(tag, attributes) {
  const node = document.createElementNS(svg, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}
