// Opens a trace in the real Perfetto UI in a headless Chromium and takes a picture of it.
//
//   node ui.mjs '{"ui": FOLDER, "trace": FILE, "picture": FILE, "chromium": FILE, ...}'
//
// Further keys: width, height (pixels), expand, collapse (lists of regular expressions of track paths), from, to (ns, the
// visible part), select (SQL that yields the id of a slice to select).  Prints one JSON object:
// loaded, problem (text of an error dialog), importErrors, tracks (titles), details (text of the
// selected slice's panel), console (errors).  Nothing but the loopback server is reachable for the page.
import fs from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import {chromium} from 'playwright-core';

const job = {width: 1600, height: 1000, expand: [], collapse: [], ...JSON.parse(process.argv[2])};
const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.png': 'image/png',
  '.wasm': 'application/wasm',
  '.woff2': 'font/woff2',
};

async function answer(request, response) {
  const name = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
  const file = name === '/trace' ? job.trace : path.join(job.ui, path.normalize(name === '/' ? '/index.html' : name));
  try {
    const body = await fs.readFile(file);
    response.writeHead(200, {'Content-Type': TYPES[path.extname(file)] ?? 'application/octet-stream'});
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
}

function address(base) {
  const commands = [
    ...job.collapse.map((pattern) => ({id: 'dev.perfetto.CollapseTracksByRegex', args: [pattern]})),
    ...job.expand.map((pattern) => ({id: 'dev.perfetto.ExpandTracksByRegex', args: [pattern]})),
  ];
  const options = {url: `${base}/trace`, hideSidebar: 'true', startupCommands: JSON.stringify(commands)};
  if (job.from !== undefined) Object.assign(options, {visStart: job.from, visEnd: job.to});
  const query = Object.entries(options).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
  return `${base}/#!/viewer?${query.join('&')}`;
}

// Runs in the page.  Done when tracks are drawn and nothing is busy, or when a dialog complains.
function progress() {
  const dialog = document.querySelector('.pf-modal-dialog, .pf-error-dialog')?.innerText.trim();
  if (dialog) return {loaded: false, problem: dialog.slice(0, 4000)};
  const busy = document.querySelector('.pf-linear-progress[state]:not([state=none])');
  const said = [...document.querySelectorAll('.pf-omnibox input')].map((box) => box.placeholder + box.value).join();
  const drawn = document.querySelectorAll('.pf-track').length > 0;
  return drawn && !busy && !/Loading|Opening|Running|Parsing/.test(said) ? {loaded: true, problem: null} : false;
}

const server = http.createServer(answer);
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const base = `http://127.0.0.1:${server.address().port}`;
const browser = await chromium.launch({
  executablePath: job.chromium,
  headless: true,
  // As root Chromium has no sandbox; the pages are ours.
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-extensions'],
});
try {
  const context = await browser.newContext({
    viewport: {width: job.width, height: job.height},
    serviceWorkers: 'block',
    timezoneId: 'UTC',
  });
  await context.route('**/*', (route) =>
    route.request().url().startsWith(base) || /^(data|blob):/.test(route.request().url())
      ? route.continue()
      : route.abort(),
  );
  const page = await context.newPage();
  const said = [];
  page.on('console', (line) => line.type() === 'error' && said.push(line.text()));
  page.on('pageerror', (error) => said.push(String(error)));
  await page.goto(address(base), {waitUntil: 'load'});
  const state = await page
    .waitForFunction(progress, null, {timeout: 120_000, polling: 200})
    .then((handle) => handle.jsonValue(), (error) => ({loaded: false, problem: String(error)}));
  let details = '';
  if (state.loaded && job.select) {
    await page.evaluate(async (sql) => {
      const trace = globalThis.app.trace;
      const id = (await trace.engine.query(sql)).firstRow({id: 0}).id;
      trace.selection.selectSqlEvent('slice', id, {switchToCurrentSelectionTab: true, scrollToSelection: true});
    }, job.select);
    await page.waitForFunction(() => /Arguments/.test(document.querySelector('.pf-details-shell')?.innerText ?? ''), null, {
      timeout: 20_000,
    });
    details = await page.evaluate(() => {
      const panel = document.querySelector('.pf-details-shell');
      [...panel.querySelectorAll('*')].find((one) => one.innerText === 'debug')?.scrollIntoView();
      return panel.innerText;
    });
  }
  await page.waitForTimeout(1500); // the canvas follows the last change of the page
  const tracks = await page.evaluate(() =>
    [...document.querySelectorAll('.pf-track__title, .pf-track-title')].map((title) => title.innerText.trim()),
  );
  const importErrors = await page.evaluate(() => /Data-loss|import error/i.test(document.body.innerText));
  await page.screenshot({path: job.picture});
  // Requests that left the loopback were refused above; that is no error of the trace.
  const errors = said.filter((line) => !/ERR_FAILED|404|9001/.test(line));
  console.log(JSON.stringify({...state, importErrors, tracks: tracks.filter(Boolean), details, console: errors}));
} finally {
  await browser.close();
  server.close();
}
