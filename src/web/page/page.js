// The status page: its address says which view is shown; events say what changes.

import { ago, later, main, tell } from './page/dom.js';
import { detail, origin, showJob } from './page/detail.js';
import { foldersView } from './page/folders.js';
import { jobsView } from './page/jobs.js';
import { spendingView } from './page/spending.js';
import { refresh, refreshAround, state } from './page/state.js';

// By the first part of the address.
const VIEWS = {
  '': (query) => jobsView(null, query),
  inbox: (query, name) => jobsView(name, query),
  folders: () => foldersView(),
  spending: (query) => spendingView(query),
};

const soon = later(400, refresh);
const aroundSoon = later(700, () => refreshAround().catch(() => {}));
// What has ended is counted now and then only, so that the last change shows in the figures a little later.
const aroundLate = later(4000, () => refreshAround().catch(() => {}));

function pulse(words) {
  const place = document.getElementById('pulse');
  if (place.textContent !== words) place.textContent = words;
}

function listen() {
  const source = new EventSource('/api/events');
  source.addEventListener('open', () => pulse('Live'));
  source.addEventListener('error', () => {
    pulse('No connection; trying again');
    // An answer that is no stream (a proxy without taxiway behind it, too many pages) ends the browser's own trying.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  });
  source.addEventListener('all', soon);
  source.addEventListener('change', (event) => {
    const { jobs, all } = JSON.parse(event.data);
    state.view?.take(jobs);
    if (!all) soon();
    aroundSoon();
    aroundLate();
    const open = jobs.find((job) => location.hash === `#/job/${job.id}`);
    if (open && detail.open && !detail.contains(document.activeElement?.closest('video'))) showJob(open.id);
  });
}

function route() {
  const [path, parameters] = location.hash.replace(/^#/, '').split('?');
  const query = new URLSearchParams(parameters || '');
  const parts = path.split('/').filter(Boolean).map(decodeURIComponent);
  if (location.hash === '#main') return main.focus();
  if (parts[0] === 'job') {
    if (!state.view) show(jobsView(null, new URLSearchParams()));
    return showJob(parts[1] || '');
  }
  if (detail.open) detail.close();
  const same = origin.hash === (location.hash || '#/') && state.view;
  origin.hash = location.hash || '#/';
  if (same) return undefined;
  const here = Object.hasOwn(VIEWS, parts[0]) ? parts[0] : '';
  show(VIEWS[here](query, parts[1]));
  for (const link of document.querySelectorAll('nav a')) {
    const place = link.getAttribute('href').replace('#/', '');
    if (place === (here === 'inbox' ? '' : here)) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  return undefined;
}

function show(next) {
  const typing = document.activeElement?.id === 'search' ? document.activeElement.selectionStart : null;
  state.view = next;
  main.replaceChildren(...next.root.filter(Boolean));
  document.title = `${next.title} – taxiway`;
  if (typing !== null) {
    const search = document.getElementById('search');
    search?.focus();
    search?.setSelectionRange(typing, typing);
  }
  next.around();
  next.reload().catch((error) => tell(error.message));
}

setInterval(() => {
  for (const time of document.querySelectorAll('.card time, .figures time')) time.textContent = ago(time.dateTime);
}, 30000);

try {
  await refreshAround();
} catch (error) {
  tell(error.message);
}
addEventListener('hashchange', route);
route();
listen();
