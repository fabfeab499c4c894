// node draw.mjs --prometheus http://127.0.0.1:9090 --dashboard FILE --out FILE.png [--minutes 15] [--width 1600]
// Asks Prometheus what the dashboard's panels ask, and has Chromium draw the answers.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const ROW = 38;
const POINTS = 180;
const { values: options } = parseArgs({
  options: {
    prometheus: { type: 'string', default: 'http://127.0.0.1:9090' },
    dashboard: { type: 'string', default: '../../etc/grafana/dashboards/overview.json' },
    out: { type: 'string', default: 'overview.png' },
    minutes: { type: 'string', default: '15' },
    width: { type: 'string', default: '1600' },
    rate: { type: 'string', default: '1m' },
    chromium: { type: 'string', default: 'chromium' },
  },
});

const here = dirname(fileURLToPath(import.meta.url));
const seconds = Number(options.minutes) * 60;
const step = Math.max(1, Math.round(seconds / POINTS));
const end = Math.floor(Date.now() / 1000);
const start = end - Math.floor(seconds / step) * step;

async function ask(target) {
  const query = target.expr
    .replaceAll('$__rate_interval', options.rate)
    .replaceAll('$__range', `${seconds}s`)
    .replace(/\$\w+/g, '.+');
  const path = target.instant ? 'query' : 'query_range';
  const body = new URLSearchParams(target.instant ? { query, time: end } : { query, start, end, step });
  const answer = await fetch(`${options.prometheus}/api/v1/${path}`, { method: 'POST', body });
  const { status, error, data } = await answer.json();
  if (status !== 'success') { throw new Error(`${query}: ${error}`); }
  return data.result.map(({ metric, value, values }) => ({ metric, values: values ?? [value] }));
}

const dashboard = JSON.parse(readFileSync(options.dashboard, 'utf8'));
const results = {};
for (const panel of dashboard.panels) {
  results[panel.id] = await Promise.all((panel.targets ?? []).map(ask));
}

const folder = mkdtempSync(join(tmpdir(), 'grafana-picture-'));
try {
  await build({
    entryPoints: [join(here, 'page.tsx')], bundle: true, outfile: join(folder, 'page.js'), format: 'iife', jsx: 'automatic',
    minify: true, logLevel: 'error', define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    loader: { '.svg': 'dataurl', '.woff2': 'dataurl', '.woff': 'dataurl', '.ttf': 'empty' },
  });
  const css = readFileSync(join(here, 'node_modules/uplot/dist/uPlot.min.css'), 'utf8');
  const picture = { dashboard, results, start, end, step, width: Number(options.width), row: ROW };
  const data = JSON.stringify(picture).replaceAll('<', '\\u003c');
  writeFileSync(join(folder, 'index.html'), `<!doctype html><meta charset="utf-8"><style>${css}
    *, *::before, *::after { box-sizing: border-box }
    button { all: unset } body { margin: 0; background: #111217 }
    </style><div id="root"></div><script>window.process = { env: {} }; window.PICTURE = ${data}</script>
    <script src="page.js"></script>`);
  const rows = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  execFileSync(options.chromium, [
    '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--allow-file-access-from-files',
    '--virtual-time-budget=10000', `--window-size=${options.width},${rows * ROW + 56}`,
    `--user-data-dir=${join(folder, 'profile')}`, `--screenshot=${options.out}`, `file://${join(folder, 'index.html')}`,
  ], { stdio: ['ignore', 'ignore', process.env.VERBOSE ? 'inherit' : 'ignore'], timeout: 90_000 });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
