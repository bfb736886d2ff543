/**
 * Two kinds of plot as SVG text: bars in groups, and curves over percentiles. They carry their own background, and follow the reader's light or
 * dark setting. Pure functions of their arguments.
 */

const width = 860;
const margin = 16;

/** One colour per broker and door in every plot: light, dark. */
const colours = {
  'onehop-1': ['#0a6ebd', '#58a6ff'],
  'onehop-2': ['#6f42c1', '#bc8cff'],
  mosquitto: ['#c2540a', '#f0883e'],
  aedes: ['#6e7781', '#9aa4af'],
  'onehop-tls': ['#1a7f37', '#3fb950'],
  'onehop-ws': ['#0e8a8a', '#39c5cf'],
  'onehop-wss': ['#57606a', '#8b949e'],
  'onehop-quic': ['#6f42c1', '#bc8cff'],
  'mosquitto-tls': ['#9a6700', '#d29922'],
  'mosquitto-ws': ['#cf222e', '#ff7b72'],
};

function escapeXml(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

function className(series) {
  return `s-${series.name}`;
}

function style() {
  const rules = (side) =>
    Object.entries(colours)
      .map(([name, pair]) => `.s-${name}{fill:${pair[side]};stroke:${pair[side]}}`)
      .join('');
  const base = (back, ink, faint) => `.back{fill:${back}}text{fill:${ink}}.faint{stroke:${faint}}`;
  return (
    '<style>text{font:13px system-ui,sans-serif;stroke:none}.title{font-weight:600}.small{font-size:12px}.line{fill:none;stroke-width:2}' +
    `rect{stroke:none}${base('#ffffff', '#1f2328', '#d0d7de')}${rules(0)}` +
    `@media(prefers-color-scheme:dark){${base('#0d1117', '#e6edf3', '#30363d')}${rules(1)}}.line{fill:none}rect{stroke:none}</style>`
  );
}

function text(x, y, content, options = '') {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${options}>${escapeXml(content)}</text>`;
}

function document(height, caption, body) {
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(caption)}">`,
    style(),
    `<rect class="back" width="${width}" height="${height}" rx="6"/>`,
    text(margin, 26, caption, 'class="title"'),
    ...body,
    '</svg>',
  ].join('\n')}\n`;
}

const legendColumns = 4;
const legendRowHeight = 20;

function legend(series, top) {
  const step = (width - 2 * margin) / legendColumns;
  return series.flatMap((one, at) => {
    const x = margin + (at % legendColumns) * step;
    const y = top + Math.floor(at / legendColumns) * legendRowHeight;
    return [`<rect class="${className(one)}" x="${x}" y="${y - 10}" width="12" height="12"/>`, text(x + 18, y, one.label)];
  });
}

/**
 * Horizontal bars in groups; the longest bar of each group fills the width.
 * @param {string} caption
 * @param {{name: string, label: string}[]} series
 * @param {{title: string, bars: {series: {name: string}, value: number}[]}[]} groups
 * @param {(value: number) => string} format
 * @returns {string} SVG
 */
export function barPlot(caption, series, groups, format) {
  const body = legend(series, 52);
  const room = width - 2 * margin - 80;
  let y = 84 + (Math.ceil(series.length / legendColumns) - 1) * legendRowHeight;
  for (const { title, bars } of groups) {
    body.push(text(margin, y, title, 'class="small"'));
    y += 8;
    const longest = Math.max(...bars.map(({ value }) => value), Number.MIN_VALUE);
    for (const { series: one, value } of bars) {
      const length = Math.max((value / longest) * room, 1);
      body.push(`<rect class="${className(one)}" x="${margin}" y="${y}" width="${length.toFixed(1)}" height="14"/>`);
      body.push(text(margin + length + 6, y + 12, format(value), 'class="small"'));
      y += 18;
    }
    y += 26;
  }
  return document(y - 14, caption, body);
}

/**
 * Curves over percentiles at equal steps, on a logarithmic value axis.
 * @param {string} caption
 * @param {{series: {name: string, label: string}, points: [string, number][]}[]} curves each with the same percentiles in the same order
 * @param {(value: number) => string} format
 * @returns {string} SVG
 */
export function curvePlot(caption, curves, format) {
  const height = 380;
  const left = margin + 52;
  const right = width - margin - 12;
  const top = 76;
  const bottom = height - 48;
  const values = curves.flatMap(({ points }) => points.map(([, value]) => value)).filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...values))), low + 1);
  const steps = curves[0].points.length - 1;
  const x = (at) => left + ((right - left) * at) / steps;
  const y = (value) => bottom - ((Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * (bottom - top);
  const body = legend(
    curves.map(({ series }) => series),
    52,
  );
  for (let power = low; power <= high; power++) {
    for (const factor of power < high ? [1, 2, 5] : [1]) {
      const at = y(factor * 10 ** power);
      body.push(`<path class="faint" d="M${left} ${at.toFixed(1)}H${right}"/>`);
      body.push(text(left - 8, at + 4, String(Number((factor * 10 ** power).toPrecision(1))), 'class="small" text-anchor="end"'));
    }
  }
  for (const [at, [percent]] of curves[0].points.entries())
    body.push(text(x(at), bottom + 20, `${percent} %`, 'class="small" text-anchor="middle"'));
  for (const { series, points } of curves) {
    const path = points.map(([, value], at) => `${at === 0 ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join('');
    body.push(`<path class="${className(series)} line" d="${path}"/>`);
    for (const [at, [percent, value]] of points.entries()) {
      const title = `<title>${escapeXml(`${series.label}, ${percent} %: ${format(value)} ms`)}</title>`;
      body.push(`<circle class="${className(series)}" cx="${x(at).toFixed(1)}" cy="${y(value).toFixed(1)}" r="3">${title}</circle>`);
    }
  }
  return document(height, caption, body);
}
