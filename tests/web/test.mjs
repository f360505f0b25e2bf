// The status page in a real browser: the real daemon over real folders, the simulator, Chromium, axe.
//
// usage: node test.mjs TAXIWAY SCREENSHOTS [CHROMIUM]
//
// Needs `npm ci` beside this file. The last line is `page: N passed, N failed`; the exit code is 0 when nothing failed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

// What is installed may lie elsewhere, so that nothing is written beside the sources.
const require = createRequire(join(resolve(process.env.TAXIWAY_PAGE_MODULES || dirname(fileURLToPath(import.meta.url))), 'x.js'));
const { chromium } = require('playwright-core');
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');

const [binary, screenshots, browserPath = '/usr/bin/chromium'] = process.argv.slice(2);
const samples = join(dirname(fileURLToPath(import.meta.url)), '../../src/demo/samples');
const PATIENCE = 20000;
const children = [];
let passed = 0;
let failed = 0;

async function until(what, look) {
  const limit = Date.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > limit) throw new Error(`waited too long until ${what}`);
    await new Promise((go) => { setTimeout(go, 50); });
  }
}

function start(program, args) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, RUNWAYML_API_SECRET: 'key_test0123456789', NO_PROXY: '127.0.0.1' } });
  child.said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => { child.said += bytes; });
  children.push(child);
  return child;
}

const said = (child, pattern) => until(`${pattern} is said`, () => {
  if (child.exitCode !== null) throw new Error(`ended: ${child.said}`);
  return child.said.match(pattern);
});

async function studio(root, web) {
  await mkdir(join(root, 'studio/inbox'), { recursive: true });
  await mkdir(join(root, 'archive/inbox'), { recursive: true });
  const simulator = start(binary, ['simulate', '--listen', '127.0.0.1:0', '--task-seconds', '1']);
  const [base] = await said(simulator, /http:\/\/127\.0\.0\.1:\d+/);
  const inbox = (name) => `  - { name: ${name}, path: ${name}/inbox, settle: 200ms, pair_wait: 500ms, status_file: off,
      limits: { credits_per_day: 5000 }, defaults: { model: gen4_turbo, ratio: "1280:720", duration: 5 } }`;
  await writeFile(join(root, 'taxiway.yaml'), `state_dir: state
runway: { base_url: "${base}", poll_interval: 100ms }
inboxes:
${inbox('studio')}
${inbox('archive')}
web: { listen: "127.0.0.1:0"${web} }
`);
  const daemon = start(binary, ['run', '--config', join(root, 'taxiway.yaml')]);
  const [, url] = await said(daemon, /the status page is at (http:\/\/\S+)/);
  await said(daemon, /ready: /);
  return { root, base, url, daemon, simulator };
}

const faults = (at, rules) => fetch(`${at.base}/_simulator/faults`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(rules) });
const tasks = (at, seconds) => fetch(`${at.base}/_simulator/settings`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ task_seconds: seconds }) });
const drop = (at, name, text) => writeFile(join(at.root, 'studio/inbox', name), text);
const jobs = async (at, query = '') => (await (await fetch(`${at.url}api/jobs?${query}`)).json()).jobs;
const standing = (at, input, state) => until(`${input} is ${state}`, async () => (await jobs(at, 'limit=200')).find((job) => job.input === input && job.state === state));
const prompt = (words) => `endpoint: text_to_video\nmodel: veo3.1_fast\nprompt: "${words}"\nratio: "1280:720"\nduration: 4\n`;

// A page that may have no trouble: no error on the console, no request that fails.
async function open(browser, at, options, hash = '') {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.trouble = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) page.trouble.push(`console: ${message.text()}`); });
  page.on('pageerror', (error) => page.trouble.push(`error: ${error.message}`));
  page.on('response', (answer) => { if (answer.status() >= 400 && !page.mayRefuse) page.trouble.push(`${answer.status()} ${answer.url()}`); });
  page.on('requestfailed', (request) => {
    // Leaving the page ends its stream of events, and a film that is not wanted any more is broken off.
    if (!/net::ERR_ABORTED/.test(request.failure().errorText)) page.trouble.push(`${request.failure().errorText} ${request.url()}`);
  });
  page.on('request', (request) => { if (!request.url().startsWith(at.url) && !request.url().startsWith('data:')) page.trouble.push(`foreign: ${request.url()}`); });
  await page.goto(at.url + hash);
  return page;
}

async function accessible(page, what) {
  // The policy lets nothing in that is not the page's own, so axe comes by way of the debugger.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const words = violations.map((one) => `${one.id}: ${one.help}\n    ${one.nodes.map((node) => node.html.slice(0, 160)).join('\n    ')}`);
  assert.deepEqual(words, [], `axe on ${what}:\n${words.join('\n')}`);
}

// All pictures, also those further down, which are loaded when they are looked at otherwise.
async function pictures(page) {
  await page.evaluate(() => { for (const image of document.images) image.loading = 'eager'; });
  await page.waitForFunction(() => [...document.images].every((image) => image.complete));
}

// On the narrowest phones, too, nothing sticks out sideways.
async function fits(page, what) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(over <= 0, `${what} sticks out by ${over} px`);
}

async function test(name, run) {
  try {
    await run();
    passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}

const shot = (page, name, options) => page.screenshot({ path: join(screenshots, `${name}.png`), animations: 'disabled', ...options });

async function main() {
  await mkdir(screenshots, { recursive: true });
  const top = await mkdtemp(join(tmpdir(), 'taxiway-page-'));
  const browser = await chromium.launch({
    executablePath: browserPath,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    const at = await studio(join(top, 'one'), '');

    await test('an empty page tells a newcomer what to drop where', async () => {
      const page = await open(browser, at, {});
      await page.getByText('No jobs yet').waitFor();
      await page.getByText(join(at.root, 'studio/inbox')).first().waitFor();
      await accessible(page, 'the empty page');
      await shot(page, 'empty');
      assert.deepEqual(page.trouble, []);
      await page.context().close();
    });

    await test('a job shows up by itself, with progress, and its output plays in place', async () => {
      const page = await open(browser, at, {});
      await page.getByText('Live').waitFor();
      await tasks(at, 3);
      await copyFile(join(samples, 'harbour.jpg'), join(at.root, 'studio/inbox/harbour.jpg'));
      await drop(at, 'harbour.jpg.yaml', 'prompt: |\n  Slow dolly in over the water at dusk. #cinematic\n');
      await page.locator('.card progress').waitFor();
      const video = page.locator('.card video');
      await video.waitFor({ timeout: PATIENCE });
      assert.equal(await video.getAttribute('preload'), 'none');
      const bytes = await page.evaluate(async (source) => (await (await fetch(source, { headers: { Range: 'bytes=0-99' } })).arrayBuffer()).byteLength, await video.getAttribute('src'));
      assert.equal(bytes, 100);
      assert.deepEqual(page.trouble, []);
      await page.context().close();
    });

    // A bit of everything.
    await tasks(at, 0.5);
    await drop(at, 'storm.yaml', prompt('A storm rolls over the plain'));
    await drop(at, 'poster.yaml', 'endpoint: text_to_image\nmodel: gen4_image\nprompt: A travel poster of a small airport\nratio: "1920:1080"\n');
    await drop(at, 'thunder.yaml', 'endpoint: sound_effect\nmodel: eleven_text_to_sound_v2\nprompt: Distant thunder over water\nduration: 4\n');
    await copyFile(join(samples, 'runway.png'), join(at.root, 'studio/inbox/runway.png'));
    await drop(at, 'runway.png.yaml', 'promt: Planes land at dawn\nmodel: gen4_turbo\nratio: 16:10\nduration: five\n');
    await drop(at, 'short.mp4.yaml', 'prompt: Wait for the film\n');
    await standing(at, 'storm.yaml', 'done');
    await standing(at, 'poster.yaml', 'done');
    await standing(at, 'thunder.yaml', 'done');
    await standing(at, 'runway.png', 'failed');
    await faults(at, [{ match: { path: '/v1/image_to_video' }, action: 'reset_before', times: 1 }]);
    await copyFile(join(samples, 'portrait.webp'), join(at.root, 'studio/inbox/portrait.webp'));
    const doubt = await standing(at, 'portrait.webp', 'in_doubt');
    await faults(at, []);
    await tasks(at, 600);
    await drop(at, 'endless.yaml', prompt('An endless road at night'));
    await standing(at, 'endless.yaml', 'running');
    await tasks(at, 30);
    await drop(at, 'meadow.yaml', prompt('A meadow in the wind, seen from above'));

    await test('a picture of the page for those who have not seen it', async () => {
      const page = await open(browser, at, { viewport: { width: 1216, height: 1150 } });
      await page.getByRole('heading', { name: 'Done' }).waitFor();
      await until('some of it is done', async () => (await page.locator('.card progress').first().getAttribute('value').catch(() => 0)) > 0.3);
      await pictures(page);
      await shot(page, 'status-page');
      assert.ok((await readFile(join(screenshots, 'status-page.png'))).length <= 200000);
      assert.deepEqual(page.trouble, []);
      await page.context().close();
    });
    await tasks(at, 0.5);

    for (const [scheme, width] of [['light', 1280], ['dark', 1280], ['light', 360], ['dark', 360], ['light', 320]]) {
      await test(`every view is readable, ${scheme}, ${width} px wide`, async () => {
        const page = await open(browser, at, { colorScheme: scheme, reducedMotion: 'reduce', viewport: { width, height: width === 1280 ? 900 : 740 } });
        await page.getByRole('heading', { name: 'Needs you' }).waitFor();
        await page.getByRole('heading', { name: 'Done' }).waitFor();
        await pictures(page);
        // What was made of a prompt alone shows what it is, too.
        const film = page.locator('.card', { hasText: 'storm.yaml' }).locator('video');
        await film.scrollIntoViewIfNeeded();
        await until('the film shows its first picture', () => film.evaluate((element) => element.readyState >= 2 && element.videoWidth > 0));
        await fits(page, 'the list');
        await accessible(page, `the list, ${scheme}, ${width}`);
        await shot(page, `jobs-${scheme}-${width}`, { fullPage: true });
        await page.getByRole('link', { name: 'harbour.jpg' }).click();
        await page.getByRole('heading', { name: 'History' }).waitFor();
        await fits(page, 'a job');
        await accessible(page, `a job, ${scheme}, ${width}`);
        await shot(page, `job-${scheme}-${width}`);
        await page.getByRole('button', { name: 'Close' }).click();
        await page.getByRole('link', { name: 'Folders' }).click();
        await page.getByRole('heading', { name: 'Folders' }).waitFor();
        await page.getByText('of at most 5,000').first().waitFor();
        // Nothing is not less than nothing.
        assert.equal(await page.locator('dd', { hasText: /^-0/ }).count(), 0);
        await fits(page, 'the folders');
        await accessible(page, `the folders, ${scheme}, ${width}`);
        await shot(page, `folders-${scheme}-${width}`);
        await page.getByRole('link', { name: 'Spending' }).click();
        await page.getByRole('table').waitFor();
        await fits(page, 'the spending');
        await accessible(page, `the spending, ${scheme}, ${width}`);
        await shot(page, `spending-${scheme}-${width}`);
        assert.deepEqual(page.trouble, []);
        await page.context().close();
      });
    }

    await test('search and filters find, and say when there is nothing', async () => {
      const page = await open(browser, at, {});
      const search = page.getByRole('searchbox', { name: 'Search' });
      await search.fill('poster');
      await until('only the poster is there', async () => (await page.locator('.card').count()) === 1);
      await search.fill('no such thing');
      await page.getByText('No job matches').waitFor();
      await search.fill('');
      await page.getByLabel('State').selectOption('failed');
      await until('only what failed is there', async () => (await page.locator('.card').count()) === 1);
      await page.getByLabel('State').selectOption('');
      await page.getByLabel('Folder', { exact: true }).selectOption('archive');
      await page.getByText('No jobs yet').waitFor();
      await page.getByRole('heading', { name: 'Folder archive', level: 1 }).waitFor();
      assert.deepEqual(page.trouble, []);
      await page.context().close();
    });

    // Presses Tab until what has the focus is what was meant.
    const tabTo = async (page, what) => {
      for (let times = 0; times < 120; times += 1) {
        const name = await page.evaluate(() => document.activeElement?.innerText?.replace(/\s+/g, ' ').trim() || document.activeElement?.id || '');
        if (name === what) return;
        await page.keyboard.press('Tab');
      }
      throw new Error(`${what} is not reached by Tab`);
    };

    await test('cancel, run again and settle, by keyboard alone', async () => {
      const page = await open(browser, at, {});
      await page.getByText('Live').waitFor();
      await page.getByRole('button', { name: 'Cancel… endless.yaml' }).waitFor();
      await tabTo(page, 'Cancel… endless.yaml');
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'Cancel endless.yaml?' }).waitFor();
      await accessible(page, 'the question');
      await page.keyboard.press('Escape');
      assert.equal((await standing(at, 'endless.yaml', 'running')).state, 'running');
      await tabTo(page, 'Cancel… endless.yaml');
      await page.keyboard.press('Enter');
      await tabTo(page, 'Cancel the job');
      await page.keyboard.press('Enter');
      await standing(at, 'endless.yaml', 'cancelled');
      await page.getByRole('button', { name: 'Run again… endless.yaml' }).waitFor();
      await tasks(at, 600);
      await tabTo(page, 'Run again… endless.yaml');
      await page.keyboard.press('Enter');
      await tabTo(page, 'Run it again');
      await page.keyboard.press('Enter');
      await standing(at, 'endless.yaml', 'running');

      await tasks(at, 0.5);
      await page.getByRole('button', { name: 'Resolve… portrait.webp' }).waitFor();
      await tabTo(page, 'Resolve… portrait.webp');
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'Settle portrait.webp' }).waitFor();
      await accessible(page, 'the doubt');
      await shot(page, 'doubt');
      await tabTo(page, 'way-adopt');
      await page.keyboard.press('ArrowDown');
      await tabTo(page, 'Settle it');
      await page.keyboard.press('Enter');
      await standing(at, 'portrait.webp', 'done');
      assert.equal((await jobs(at, `q=${doubt.id}`))[0].attempts, 2);
      assert.deepEqual(page.trouble, []);
      await page.context().close();
    });

    await test('what cannot be done is told in words', async () => {
      const page = await open(browser, at, {});
      await page.getByRole('button', { name: 'Cancel… endless.yaml' }).click();
      page.mayRefuse = true;
      const job = await standing(at, 'endless.yaml', 'running');
      await fetch(`${at.url}api/jobs/${job.id}/cancel`, { method: 'POST', headers: { 'X-Taxiway': '1', Origin: at.url.slice(0, -1), 'Content-Type': 'application/json' }, body: '{}' });
      await standing(at, 'endless.yaml', 'cancelled');
      await page.getByRole('button', { name: 'Cancel the job' }).click();
      await page.getByRole('alert').filter({ hasText: 'cancelled already' }).waitFor();
      await page.context().close();
    });

    await test('the page tells when taxiway is gone', async () => {
      const page = await open(browser, at, {});
      await page.getByText('Live').waitFor();
      at.daemon.kill('SIGTERM');
      await once(at.daemon, 'exit');
      await page.getByText('No connection').waitFor();
      await page.context().close();
    });

    await test('with a token, the form lets in and nothing else does', async () => {
      await mkdir(join(top, 'two'), { recursive: true });
      const token = 'token-0123456789abcdef0123456789';
      await writeFile(join(top, 'two/token'), token, { mode: 0o600 });
      const shut = await studio(join(top, 'two'), ', token_file: token');
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(shut.url);
      await accessible(page, 'the form');
      await shot(page, 'sign-in');
      await page.getByLabel('Token').fill('wrong');
      await page.keyboard.press('Enter');
      await page.getByRole('alert').filter({ hasText: 'not the token' }).waitFor();
      await page.getByLabel('Token').fill(token);
      await page.keyboard.press('Enter');
      await page.getByText('No jobs yet').waitFor();
      const cookie = (await context.cookies())[0];
      assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict' && cookie.value !== token);
      await context.close();
    });
  } finally {
    await browser.close();
    for (const child of children) {
      if (child.exitCode === null) {
        child.kill('SIGTERM');
        await once(child, 'exit');
      }
    }
    await rm(top, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  failed += 1;
  console.log(error.stack);
}
console.log(`page: ${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
